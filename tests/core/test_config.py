"""Configs from mappings: right types out, and a sentence for everything wrong."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videocups_core.config import (
    ConfigError,
    config_hash,
    describe,
    from_mapping,
    override,
    setting,
    to_mapping,
    validate,
)


class Device(Enum):
    CPU = "cpu"
    GPU = "cuda"


@dataclass(frozen=True)
class Backbone:
    depth: int = setting(18, "layers of the ResNet", choices=(18, 50))
    scales: tuple[float, ...] = setting((0.5, 1.0), "image scales", minimum=0.1, maximum=2.0)


@dataclass(frozen=True)
class Train:
    lr: float = setting(1e-4, "learning rate", minimum=0.0)
    steps: int = setting(4000, "optimiser steps", minimum=1, maximum=10**6)
    device: Device = setting(Device.CPU, "where to train")
    mode: Literal["fast", "exact"] = setting("fast", "which kernel")
    crop: tuple[int, int] = setting((384, 768), "height and width")
    resume: Path | None = setting(None, "checkpoint to go on from")
    seed: int | str = setting(0, "number or name")
    flip: bool = setting(True, "mirror images")
    weights: dict[str, float] = setting({}, "loss weights")
    backbone: Backbone = setting(Backbone(), "the backbone")
    extra: Any = setting(None, "anything")


@dataclass(frozen=True)
class Window:
    first: int = 0
    last: int = 10

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError(f"last must be >= first, got {self.last} < {self.first}")


@dataclass(frozen=True)
class Required:
    name: str


def test_nothing_given_is_the_default():
    assert from_mapping(Train, {}) == from_mapping(Train, None) == Train()


def test_every_type_is_read():
    config = from_mapping(
        Train,
        {
            "lr": 1,
            "steps": 7,
            "device": "cuda",
            "mode": "exact",
            "crop": [10, 20],
            "resume": "a/b.pt",
            "seed": "lucky",
            "flip": False,
            "weights": {"mask": 2},
            "backbone": {"depth": 50, "scales": [1, 2]},
            "extra": [1, {"x": 2}],
        },
    )
    assert config == Train(
        1.0, 7, Device.GPU, "exact", (10, 20), Path("a/b.pt"), "lucky", False, {"mask": 2.0}, Backbone(50, (1.0, 2.0)),
        [1, {"x": 2}],
    )  # fmt: skip
    assert isinstance(config.lr, float)
    assert isinstance(config.weights["mask"], float)
    assert from_mapping(Train, {"device": "GPU"}).device is Device.GPU  # by name too
    assert from_mapping(Train, {"resume": None}).resume is None
    assert from_mapping(Train, {"seed": 3}).seed == 3


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"stepz": 3}, "label.yaml: 'stepz' is not a setting; did you mean 'steps'?"),
        ({"backbone": {"dept": 18}}, "'backbone.dept' is not a setting; did you mean 'depth'?"),
        ({"zzz": 3}, "known are 'backbone', 'crop'"),
        ({3: 3}, "'3' is not a setting"),
        ({"steps": "many"}, "steps must be a whole number, got 'many' (str)"),
        ({"steps": 1.0}, "steps must be a whole number, got 1.0"),
        ({"steps": True}, "steps must be a whole number, got True"),
        ({"steps": None}, "steps must be a whole number, got None"),
        ({"steps": 0}, "steps must be >= 1, got 0"),
        ({"steps": 10**7}, "steps must be <= 1000000, got 10000000"),
        ({"lr": "fast"}, "lr must be a number, got 'fast'"),
        ({"lr": "0.1"}, "lr must be a number, got '0.1'"),
        ({"lr": float("nan")}, "lr must be a number, got nan"),
        ({"lr": -0.1}, "lr must be >= 0.0"),
        ({"flip": 1}, "flip must be true or false, got 1"),
        ({"flip": "no"}, "flip must be true or false"),
        ({"device": "tpu"}, "device must be one of ['cpu', 'cuda'], got 'tpu'"),
        ({"mode": "exat"}, "mode must be one of ['fast', 'exact'], got 'exat'; did you mean 'exact'?"),
        ({"mode": []}, "mode must be one of"),
        ({"crop": [1]}, "crop must be a list of 2 values, got [1]"),
        ({"crop": 7}, "crop must be a list, got 7"),
        ({"crop": "78"}, "crop must be a list, got '78'"),
        ({"crop": [1, "x"]}, "crop[1] must be a whole number"),
        ({"resume": 3}, "resume must be a path"),
        ({"seed": 1.5}, "seed must be a whole number or a text, got 1.5"),
        ({"weights": [1]}, "weights must be a mapping"),
        ({"weights": {"mask": "x"}}, "weights.mask must be a number"),
        ({"weights": {3: 1.0}}, "key of weights must be a text"),
        ({"backbone": 50}, "backbone must be a mapping of settings, got 50"),
        ({"backbone": {"depth": 34}}, "backbone.depth must be one of [18, 50], got 34"),
        ({"backbone": {"scales": [1.0, 3.0]}}, "backbone.scales[1] must be <= 2.0, got 3.0"),
        ([], "label.yaml must be a mapping of settings, got []"),
        ("steps", "label.yaml must be a mapping"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(mapping, words):
    with pytest.raises(ConfigError) as caught:
        from_mapping(Train, mapping, source="label.yaml")
    assert words in str(caught.value)
    assert "label.yaml" in str(caught.value)


def test_every_value_of_a_mapping_keeps_the_range():
    @dataclass(frozen=True)
    class Losses:
        weights: dict[str, float] = setting({"mask": 1.0}, "loss weights", minimum=0.0)

    assert from_mapping(Losses, {"weights": {"mask": 0.5, "box": 0.0}}).weights == {"mask": 0.5, "box": 0.0}
    with pytest.raises(ConfigError, match=r"weights\.box must be >= 0.0, got -1.0"):
        from_mapping(Losses, {"weights": {"mask": 0.5, "box": -1}}, "x.yaml")


@dataclass(frozen=True)
class Owner:
    small: Backbone = dataclasses.field(default_factory=lambda: Backbone(depth=50, scales=(2.0,)))
    whole: Train = dataclasses.field(default_factory=lambda: Train(lr=0.5))


@dataclass(frozen=True)
class Top:
    owner: Owner = dataclasses.field(default_factory=lambda: Owner(small=Backbone(depth=18, scales=(0.1,))))


def test_a_group_that_is_named_in_part_keeps_its_owners_defaults():
    assert from_mapping(Owner, {"small": {"scales": [1.0]}}).small == Backbone(50, (1.0,))
    assert from_mapping(Owner, {"small": {}}) == Owner()
    assert from_mapping(Owner, {"whole": {}}).whole.lr == 0.5
    assert from_mapping(Top, {"owner": {"small": {"depth": 50}}}).owner.small == Backbone(50, (0.1,))
    with pytest.raises(ConfigError, match=r"small\.depht"):
        from_mapping(Owner, {"small": {"depht": 50}})


def test_a_number_with_an_exponent_is_one_although_yaml_reads_a_text():
    assert from_mapping(Train, {"lr": "1e-3"}).lr == 1e-3
    assert override(Train(), {"lr": "2E+1"}).lr == 20


def test_a_number_too_large_for_a_float_is_named():
    with pytest.raises(ConfigError, match=r"x\.yaml: lr must fit a 64-bit float"):
        from_mapping(Train, {"lr": 10**400}, "x.yaml")


def test_rules_of_the_dataclass_and_missing_values_become_config_errors():
    with pytest.raises(ConfigError, match=r"w\.yaml: last must be >= first, got 1 < 3"):
        from_mapping(Window, {"first": 3, "last": 1}, "w.yaml")
    with pytest.raises(ConfigError, match="name"):
        from_mapping(Required, {})
    with pytest.raises(ConfigError, match="takes a config dataclass instance"):
        to_mapping(Train)


def test_to_mapping_is_plain_and_comes_back():
    config = Train(resume=Path("x"), device=Device.GPU)
    content = to_mapping(config)
    assert content["device"] == "cuda"
    assert content["resume"] == "x"
    assert content["crop"] == [384, 768]
    assert content["backbone"] == {"depth": 18, "scales": [0.5, 1.0]}
    assert from_mapping(Train, content) == config


@given(
    lr=st.floats(0, 1),
    steps=st.integers(1, 10**6),
    scales=st.lists(st.floats(0.1, 2.0), max_size=4),
    flip=st.booleans(),
    seed=st.integers() | st.text(),
    weights=st.dictionaries(st.text(), st.floats(allow_nan=False)),
)
def test_round_trip_and_hash_on_random_configs(lr, steps, scales, flip, seed, weights):
    config = Train(lr, steps, flip=flip, seed=seed, weights=weights, backbone=Backbone(scales=tuple(scales)))
    again = from_mapping(Train, to_mapping(config))
    assert again == config
    assert config_hash(again) == config_hash(config)


def test_the_hash_is_of_the_resolved_content():
    # from sha256sum: {"first":0,"last":10}
    assert config_hash(Window()) == "69a77af2a5727a77348eb614db7097b29b1c224f4a90cf518b1c201d5759e5e4"
    assert config_hash(from_mapping(Train, {"flip": True, "lr": 1})) == config_hash(from_mapping(Train, {"lr": 1.0}))
    assert config_hash(Train(weights={"a": 1.0, "b": 2.0})) == config_hash(Train(weights={"b": 2.0, "a": 1.0}))
    assert config_hash(Train()) != config_hash(Train(steps=4001))
    assert config_hash(Train()) != config_hash(Train(backbone=Backbone(depth=50)))


def test_override_changes_dotted_names_only():
    config = override(Train(), {"backbone.depth": 50, "lr": 0.5, "device": Device.GPU, "weights.mask": 2.0})
    assert config == Train(lr=0.5, device=Device.GPU, weights={"mask": 2.0}, backbone=Backbone(depth=50))
    assert Train().weights == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backbon.depth": 50}, "has no group 'backbon'; did you mean 'backbone'?"),
        ({"lr.depth": 50}, "has no group 'lr'"),
        ({"backbone.dept": 50}, "'backbone.dept' is not a setting"),
        ({"steps": 0}, "steps must be >= 1"),
        ({"": 0}, "is not a setting"),
    ],
)
def test_wrong_overrides_are_named(changes, words):
    with pytest.raises(ConfigError) as caught:
        override(Train(), changes, source="--set")
    assert words in str(caught.value)
    assert str(caught.value).startswith("--set")


def test_validate_checks_configs_built_in_code():
    assert validate(Train()) == Train()
    with pytest.raises(ConfigError, match="steps must be >= 1"):
        validate(Train(steps=0))


def test_defaults_are_not_shared_and_configs_are_frozen():
    first = Train()
    first.weights["mask"] = 1.0
    assert Train().weights == {}
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.steps = 3


def test_describe_lists_every_setting_flat():
    rows = {name: (default, text) for name, default, text in describe(Train)}
    assert rows["backbone.depth"] == (18, "layers of the ResNet")
    assert rows["steps"] == (4000, "optimiser steps")
    assert "backbone" not in rows


def test_an_annotation_configs_cannot_hold_is_a_programming_error():
    @dataclass(frozen=True)
    class Odd:
        value: bytes = b""

    with pytest.raises(TypeError, match="do not support"):
        from_mapping(Odd, {"value": b"x"})
