"""What an engine demands of a graph before it runs it."""

from __future__ import annotations

from typing import Any

import pytest

from videocups_core.engine import InputSpec
from videocups_core.engine.base import TensorSpec, check_contract

SPEC = InputSpec(64, 96)
OUTPUTS = {
    "semantic": ("uint8", (32, 48)),
    "masks": ("uint8", (5, 28, 28)),
    "boxes": ("float32", (5, 4)),
    "scores": ("float32", (5,)),
    "classes": ("int64", (5,)),
    "embeddings": ("float32", (5, 16)),
}
IMAGE = [TensorSpec("image", "uint8", (1, 64, 96, 3))]


def specs(**changes: tuple[str, tuple[Any, ...]] | None) -> list[TensorSpec]:
    table = {**OUTPUTS, **changes}
    return [TensorSpec(name, *spec) for name, spec in table.items() if spec is not None]


def test_the_contract_takes_what_it_should() -> None:
    check_contract(IMAGE, specs(), SPEC)
    check_contract(IMAGE, specs(classes=("int32", (5,)), semantic_score=("uint8", (64, 96))), SPEC)
    check_contract(IMAGE, specs(debug=("float32", ("n", 3))), SPEC)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boxes": None}, "no output named boxes"),
        ({"semantic": ("float32", (32, 48))}, "'semantic' must be uint8"),
        ({"semantic": ("uint8", (32, 96))}, "one whole stride"),
        ({"semantic": ("uint8", (31, 48))}, "one whole stride"),
        ({"semantic": ("uint8", (1, 32, 48))}, "one whole stride"),
        ({"semantic_score": ("uint8", (3, 3))}, "'semantic_score' must be"),
        ({"scores": ("float32", ("N",))}, "must have a static shape"),
        ({"scores": ("float32", (1, 5))}, "must have shape"),
        ({"masks": ("uint8", (5, 28, 30))}, "'masks' must have shape"),
        ({"boxes": ("float32", (4, 5))}, "'boxes' must have shape"),
        ({"boxes": ("float16", (5, 4))}, "'boxes' must be float32"),
        ({"embeddings": ("float32", (5,))}, "'embeddings' must have shape"),
        ({"classes": ("float32", (5,))}, "'classes' must be int32 or int64"),
    ],
)
def test_the_contract_names_what_breaks_it(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_contract(IMAGE, specs(**changes), SPEC)


@pytest.mark.parametrize("image", [("image", "uint8", (1, 3, 64, 96)), ("x", "uint8", (1, 64, 96, 3))])
def test_the_input_is_checked_too(image: tuple[str, str, tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="must take one input 'image'"):
        check_contract([TensorSpec(*image)], specs(), SPEC)
