"""Other features than the embedded ones, as settings of a labelling run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from videocups.pipeline.failures import TooManyFailuresError
from videocups.pipeline.formats import decode
from videocups.pipeline.label_config import label_config
from videocups.pipeline.run import RunConfig, run_stages
from videocups.pipeline.workspace import Workspace, link_clips
from videocups.pretrain.config import PretrainConfig
from videocups.pretrain.task import PretrainTask
from videocups.semantics.coding import CodedFeatures, Coding, learn_coding, standard
from videocups.semantics.distill_config import DistillConfig
from videocups.semantics.features_classical import ClassicalFeatures
from videocups.synthetic import World, WorldConfig
from videocups.synthetic.storage import write_clip
from videocups.train.loop import run_training
from videocups_core.config import ConfigError, from_mapping

SMALL = {"kmeans": {"classes": 4, "steps": 20, "restarts": 1}, "inference": {"crf": False}}
PRETRAIN = {
    "encoder": {"resnet": {"kind": "resnet18", "width": 0.125}, "dim": 8},
    "views": {"height": 64, "width": 96, "crop": 32, "locals": 1, "local_crop": 32},
    "image": {"prototypes": 16, "hidden": 8, "bottleneck": 8},
    "pixel": {"classes": 6, "frames": 3},
    "loop": {"steps": 1, "batch_size": 2, "workers": 0, "checkpoint_every": 1},
}


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("street")
    write_clip(World(WorldConfig(seed=5, num_frames=4, height=64, width=96)), root / "a")
    return root


def label(street: Path, stage: str, **semantics: object) -> dict[str, int]:
    config = label_config({"preset": "fast", "semantics": {**SMALL, **semantics}}, "test")
    return dict(run_stages(config.stages().up_to([stage]), Workspace.open(street), RunConfig(executor="inline")).ran)


def test_self_trained_features_need_a_run_and_follow_its_content(street: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"needs semantics\.features\.checkpoint"):
        label(street, "clusters", features={"kind": "self-trained"})
    config = from_mapping(PretrainConfig, PRETRAIN, "test")
    run_training(PretrainTask([street / "a"], config), config.loop, tmp_path / "run")
    features = {"kind": "self-trained", "checkpoint": str(tmp_path / "run")}
    assert label(street, "clusters", features=features) == {"vectors": 4, "clusters": 1}
    assert decode(street / "data_set" / "clusters.npz")["centers"].shape == (4, 8)
    assert label(street, "clusters", features=features) == {}
    again = from_mapping(PretrainConfig, {**PRETRAIN, "loop": {**PRETRAIN["loop"], "seed": 9}}, "test")
    (tmp_path / "run").rename(tmp_path / "older")
    run_training(PretrainTask([street / "a"], again), again.loop, tmp_path / "run")
    assert label(street, "clusters", features=features) == {"vectors": 4, "clusters": 1}


def test_frames_in_one_call_get_what_they_get_alone(street: Path, tmp_path: Path) -> None:
    config = from_mapping(PretrainConfig, PRETRAIN, "test")
    run_training(PretrainTask([street / "a"], config), config.loop, tmp_path / "run")
    codes = {"enabled": True, "distill": {"dim": 6, "steps": 3, "batch": 2, "side": 3, "negatives": 1}}
    semantics = {
        "features": {"kind": "self-trained", "checkpoint": str(tmp_path / "run")},
        "codes": codes,
        "kmeans": SMALL["kmeans"],
    }
    found = []
    for batch in (1, 3):
        root = tmp_path / f"batch_{batch}"
        link_clips(street, root)
        settings = label_config({"preset": "fast", "semantics": semantics, "run": {"batch": batch}}, "test")
        stages = settings.stages().up_to(["semantics"])
        assert stages.by_name["semantics"].batch == batch
        assert stages.by_name["survey"].batch == 1
        run_stages(stages, Workspace.open(root), RunConfig(executor="inline"))
        vectors = [decode(path)["drawn"] for path in sorted((root / "a" / "vectors").iterdir())]
        classes = [decode(path) for path in sorted((root / "a" / "semantics").iterdir())]
        found.append((np.stack(vectors), np.stack(classes)))
    np.testing.assert_allclose(found[0][0], found[1][0], atol=1e-4)
    assert (found[0][1] == found[1][1]).mean() > 0.999
    assert len(np.unique(found[0][1])) > 1


def test_codes_with_depth_need_frames_that_have_some(tmp_path: Path) -> None:
    write_clip(World(WorldConfig(seed=5, num_frames=1, height=64, width=96)), tmp_path / "a")  # no pair, so no depth
    with pytest.raises(TooManyFailuresError, match="none of 1 frames has depth, which codes are distilled with"):
        label(tmp_path, "clusters", codes={"enabled": True})


def test_codes_stand_between_features_and_clusters(street: Path) -> None:
    codes = {"enabled": True, "distill": {"dim": 6, "steps": 3, "batch": 2, "side": 3, "negatives": 1}}
    ran = label(street, "semantics", codes=codes)
    assert ran["distil"] == 1
    assert ran["semantics"] == 4
    arrays = decode(street / "data_set" / "clusters.npz")
    assert (arrays["centers"].shape, str(arrays["metric"])) == ((4, 6), "cosine")
    head = decode(street / "data_set" / "head.npz")
    coding = Coding.from_arrays(head, DistillConfig(dim=6))
    features = CodedFeatures(ClassicalFeatures(), coding)
    assert features.extract(np.zeros((16, 24, 3), np.uint8)).shape == (4, 6, 6)


def test_a_head_sees_standardised_features_where_distances_count() -> None:
    rng = np.random.default_rng(0)
    maps = [rng.normal([50, 0.5], [30, 0.1], (20, 20, 2)).astype(np.float32) for _ in range(3)]
    shift, scale = standard(maps, np.array([1, 0.5], np.float32))
    moved = (np.stack(maps) - shift) * scale
    np.testing.assert_allclose(moved.std(axis=(0, 1, 2)), [1, 0.5], rtol=0.1)
    np.testing.assert_allclose(moved.mean(axis=(0, 1, 2)), 0, atol=0.1)
    assert [values.tolist() for values in standard(maps, None)] == [[0, 0], [1, 1]]
    config = DistillConfig(dim=4, steps=1, batch=2, side=2, negatives=1, depth_term="off")
    coding = learn_coding([(features, None, 0) for features in maps], np.ones(2, np.float32), config)
    restored = Coding.from_arrays(coding.to_arrays(), config)
    for name, value in coding.head.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), restored.head.state_dict()[name].numpy())
