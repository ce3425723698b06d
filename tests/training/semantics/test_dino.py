from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.models import VisionTransformer as Reference

from videocups.semantics.dino import SHAPES, DinoFeatures, VisionTransformer, VitShape, build_backbone
from videocups.semantics.weights import WeightsError, fetch, find, load_weights

TINY = VitShape(dim=24, heads=3, depth=2, patch=8, image=32)


def official_state(dim, depth=12, patch=8, image=224, seed=None):
    """Names and shapes of the official files, written down from their description."""
    tokens = (image // patch) ** 2 + 1
    shapes = {
        "cls_token": (1, 1, dim),
        "pos_embed": (1, tokens, dim),
        "patch_embed.proj.weight": (dim, 3, patch, patch),
        "patch_embed.proj.bias": (dim,),
        "norm.weight": (dim,),
        "norm.bias": (dim,),
    }
    for n in range(depth):
        for name, shape in {
            "norm1.weight": (dim,),
            "norm1.bias": (dim,),
            "attn.qkv.weight": (3 * dim, dim),
            "attn.qkv.bias": (3 * dim,),
            "attn.proj.weight": (dim, dim),
            "attn.proj.bias": (dim,),
            "norm2.weight": (dim,),
            "norm2.bias": (dim,),
            "mlp.fc1.weight": (4 * dim, dim),
            "mlp.fc1.bias": (4 * dim,),
            "mlp.fc2.weight": (dim, 4 * dim),
            "mlp.fc2.bias": (dim,),
        }.items():
            shapes[f"blocks.{n}.{name}"] = shape
    if seed is None:
        return {name: torch.zeros(shape) for name, shape in shapes.items()}
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("name", "dim", "parameters"), [("dino-vits8", 384, 21_670_272), ("dino-vitb8", 768, 85_807_872)]
)
def test_official_names_and_shapes_load(name, dim, parameters):
    with torch.device("meta"):  # names and shapes only
        network = VisionTransformer(SHAPES[name])
        state = official_state(dim)
    assert {key: value.shape for key, value in network.state_dict().items()} == {
        key: value.shape for key, value in state.items()
    }
    assert sum(value.numel() for value in state.values()) == parameters


def test_the_network_computes_what_another_one_does():
    """torchvision's vision transformer, given the same parameters under its own names."""
    state = official_state(TINY.dim, TINY.depth, TINY.patch, TINY.image, seed=0)
    network = VisionTransformer(TINY)
    network.load_state_dict(state)
    reference = Reference(
        image_size=32, patch_size=8, num_layers=2, num_heads=3, hidden_dim=24, mlp_dim=96, num_classes=1
    )
    renamed = {"class_token": state["cls_token"], "encoder.pos_embedding": state["pos_embed"]}
    moves = {
        "patch_embed.proj.": "conv_proj.",
        "norm1.": "ln_1.",
        "norm2.": "ln_2.",
        "attn.qkv.weight": "self_attention.in_proj_weight",
        "attn.qkv.bias": "self_attention.in_proj_bias",
        "attn.proj.": "self_attention.out_proj.",
        "mlp.fc1.": "mlp.0.",
        "mlp.fc2.": "mlp.3.",
        "blocks.": "encoder.layers.encoder_layer_",
    }
    for name, value in state.items():
        if name in ("cls_token", "pos_embed"):
            continue
        target = name if not name.startswith("norm.") else name.replace("norm.", "encoder.ln.")
        for old, new in moves.items():
            target = target.replace(old, new)
        renamed[target] = value
    reference.load_state_dict(renamed, strict=False)
    missing = set(reference.state_dict()) - set(renamed)
    assert missing <= {"heads.head.weight", "heads.head.bias"}
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        tokens = reference.eval()._process_input(images)
        tokens = torch.cat([reference.class_token.expand(2, -1, -1), tokens], dim=1)
        wanted = reference.encoder(tokens)[:, 1:].transpose(1, 2).reshape(2, 24, 4, 4)
        found = network.eval()(images)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_positions_follow_the_grid():
    network = VisionTransformer(TINY)
    with torch.no_grad():
        rows = torch.arange(4.0).repeat_interleave(4)
        network.pos_embed[0, 1:] = rows[:, None]
    assert network.positions(4, 4) is network.pos_embed
    wide = network.positions(4, 9)[0, 1:].reshape(4, 9, -1)
    torch.testing.assert_close(wide[:, :, 0], torch.arange(4.0)[:, None].expand(4, 9), atol=1e-4, rtol=0)


def test_fetched_official_weights_give_features(tmp_path):
    file = tmp_path / "official.pth"
    torch.save(official_state(384, seed=3), file)
    fetch(find("dino-vits8"), tmp_path, source=file)
    extractor = DinoFeatures("dino-vits8", load_weights("dino-vits8", tmp_path))
    images = np.random.default_rng(0).integers(0, 255, (3, 30, 45, 3)).astype(np.uint8)
    features = extractor.extract(images[0])
    assert features.shape == (4, 6, 384) == (4, 6, extractor.dim)
    assert features.std() > 0
    for together, rgb in zip(extractor.extract_batch(list(images)), images, strict=True):
        np.testing.assert_allclose(together, extractor.extract(rgb), atol=1e-4)
    with pytest.raises(ValueError, match="of one size"):
        extractor.extract_batch([images[0], images[1, :-1]])
    assert (extractor.stride, extractor.windowed) == (8, True)


def test_weights_of_another_network_are_refused(tmp_path):
    file = tmp_path / "base.pth"
    torch.save(official_state(384, depth=11), file)
    with pytest.raises(ValueError, match=r"not those of dino-vits8: the file lacks blocks\.11"):
        fetch(find("dino-vits8"), tmp_path, source=file)
    torch.save(official_state(192), file)
    with pytest.raises(ValueError, match="expected"):
        fetch(find("dino-vits8"), tmp_path, source=file)
    with pytest.raises(WeightsError):
        load_weights("dino-vits8", tmp_path)
    with pytest.raises(ValueError, match="there is no backbone"):
        build_backbone("dino-vitl8")


def test_resnet_takes_torchvision_names_and_leaves_the_classifier():
    from torchvision.models import resnet50

    source = resnet50(weights=None).eval()
    backbone = build_backbone("dino-resnet50", source.state_dict())  # fc.weight, fc.bias are left out
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = backbone(images)
        wanted = source.fc(found.mean(dim=(2, 3)))
        torch.testing.assert_close(source(images), wanted, atol=1e-4, rtol=1e-4)
    assert found.shape == (1, 2048, 2, 2)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
