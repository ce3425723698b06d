"""Feature extractors by name: ``classical`` needs nothing, the others fetched weights or a checkpoint of our own."""

from __future__ import annotations

from pathlib import Path

from videocups.semantics.features import FeatureExtractor
from videocups.semantics.features_classical import ClassicalFeatures, ClassicalFeaturesConfig

NAMES = ("classical", "dino-vits8", "dino-vitb8", "dino-resnet50")
SELF_TRAINED = "self-trained"
KINDS = (*NAMES, SELF_TRAINED)


def build_extractor(
    name: str,
    *,
    classical: ClassicalFeaturesConfig | None = None,
    weights: Path | None = None,
    checkpoint: Path | None = None,
    device: str = "cpu",
) -> FeatureExtractor:
    """Return the extractor ``name``.

    ``weights``: folder of fetched weights, the usual one where None. ``checkpoint``: of ``videocups pretrain``, for
    self-trained features.
    """
    if name == "classical":
        return ClassicalFeatures(classical)
    if name not in KINDS:
        raise ValueError(f"there are no features {name!r}; there are {', '.join(KINDS)}")
    if name == SELF_TRAINED:
        if checkpoint is None:
            raise ValueError(
                "self-trained features need a checkpoint of 'videocups pretrain'; give features.checkpoint"
            )
        from videocups.pretrain.features import load_self_trained

        return load_self_trained(checkpoint, device)
    from videocups.semantics.dino import DinoFeatures
    from videocups.semantics.weights import load_weights

    return DinoFeatures(name, load_weights(name, weights), device)


def device_of(name: str) -> str:
    """Return where features are computed: on a GPU where there is one and a network is asked for."""
    return "cpu" if name == "classical" else torch_device()


def torch_device() -> str:
    """Return "cuda" where torch sees a GPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
