"""Forms of the same graph that are quick in eight bits: bytes into the first convolution, last layers as products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from videocups.export.graph import scope_of
from videocups_core.engine.base import INPUT_NAME

_NORMALISATION = ("Cast", "Transpose", "Sub", "Div", "Conv")


def feed_bytes(model: onnx.ModelProto) -> str:
    """Let the first convolution, of stride 2, read the image's values as they are; return the name of what it reads.

    Normalising moves into weights and bias. Zeros at the border become bytes of the mean colour, rounded: at most
    half a grey level beside it. Four pixels are one position of twelve channels, because a runtime collects what a
    convolution reads position by position, and three bytes at a time are slow. Once quantised, ``take_bytes``.
    """
    cast, transpose, subtract, divide, conv = _first_nodes(model)
    attributes = {entry.name: helper.get_attribute_value(entry) for entry in conv.attribute}
    if attributes.get("strides") != [2, 2] or attributes.get("group", 1) != 1:
        raise ValueError(f"the first convolution must have stride 2 and one group, got {attributes}")
    mean, deviation = (_initializer(model, node.input[1]).reshape(1, 3, 1, 1) for node in (subtract, divide))
    weight = _initializer(model, conv.input[1]) / deviation
    bias = _initializer(model, conv.input[2]) if len(conv.input) > 2 else np.zeros(len(weight), np.float32)
    bias = bias - (weight * mean).sum(axis=(1, 2, 3))
    grouped = _four_pixels(weight)
    _, height, width, _ = (entry.dim_value for entry in model.graph.input[0].type.tensor_type.shape.dim)
    border = _border(attributes["pads"], (height, width), weight.shape[2:])
    nodes, constants, pixels = _bordered_and_grouped((height, width), border, np.rint(mean).astype(np.uint8).ravel())
    constants |= {"pixels.weight": grouped.astype(np.float32), "pixels.bias": bias.astype(np.float32)}
    cast.input[0] = pixels
    transpose.attribute[0].CopyFrom(helper.make_attribute("perm", [0, 3, 1, 2]))
    first = helper.make_node("Conv", [transpose.output[0], "pixels.weight", "pixels.bias"], conv.output, conv.name)
    first.metadata_props.extend(conv.metadata_props)
    for node in (subtract, divide, conv):
        model.graph.node.remove(node)
    place = list(model.graph.node).index(cast)
    for node in reversed(nodes):
        model.graph.node.insert(place, node)
    model.graph.node.insert(list(model.graph.node).index(transpose) + 1, first)
    _add_constants(model, constants)
    _drop_unused(model)
    numbers: str = transpose.output[0]
    _forget(model, cast.output[0], numbers)
    return numbers


def take_bytes(model: onnx.ModelProto, pixels: str) -> None:
    """Hand bytes to the first convolution where it is quantised: the bytes of ``pixels`` are its numbers already."""
    quantizers = [node for node in model.graph.node if node.op_type == "QuantizeLinear" and node.input[0] == pixels]
    for quantizer in quantizers:
        scale, zero = (_initializer(model, name) for name in quantizer.input[1:3])
        if (float(scale), int(zero)) != (1, 0):
            raise ValueError(f"{pixels!r} holds bytes, so its scale must be 1 and its zero 0, got {scale} and {zero}")
        (reader,) = (node for node in model.graph.node if quantizer.output[0] in node.input)
        transpose = _producer(model, pixels)
        cast = _producer(model, transpose.input[0])
        transpose.input[0], reader.input[0] = cast.input[0], pixels
        model.graph.node.remove(quantizer)
        model.graph.node.remove(cast)
        _forget(model, pixels)


def multiply_rows(model: onnx.ModelProto, scopes: Sequence[str]) -> None:
    """Turn the 1 × 1 convolutions of ``scopes`` into products with channels last.

    A product of bytes may answer in float, a convolution may not: the last layers lose nothing by rounding.
    """
    for conv in [node for node in model.graph.node if node.op_type == "Conv" and scope_of(node) in scopes]:
        weight = _initializer(model, conv.input[1])
        if weight.shape[2:] != (1, 1):
            raise ValueError(f"only 1×1 convolutions are products, {conv.name} is {weight.shape[2]}×{weight.shape[3]}")
        base = conv.output[0]
        matrix = {f"{base}.matrix": np.ascontiguousarray(weight[:, :, 0, 0].T)}
        nodes = [
            helper.make_node("Transpose", [conv.input[0]], [f"{base}.rows"], f"{conv.name}_rows", perm=[0, 2, 3, 1]),
            helper.make_node("MatMul", [f"{base}.rows", f"{base}.matrix"], [f"{base}.product"], f"{conv.name}_product"),
        ]
        # the bias comes after the transposition: beside the product a runtime would fuse both, in float
        moved = f"{base}.moved" if len(conv.input) > 2 else base
        nodes.append(helper.make_node("Transpose", [f"{base}.product"], [moved], perm=[0, 3, 1, 2]))
        if len(conv.input) > 2:
            matrix[f"{base}.bias"] = _initializer(model, conv.input[2])[:, None, None]
            nodes.append(helper.make_node("Add", [moved, f"{base}.bias"], [base]))
        nodes[1].metadata_props.extend(conv.metadata_props)
        place = list(model.graph.node).index(conv)
        model.graph.node.remove(conv)
        for node in reversed(nodes):
            model.graph.node.insert(place, node)
        _add_constants(model, matrix)
    _drop_unused(model)


def _first_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the nodes from the image to the first convolution."""
    found: list[onnx.NodeProto] = []
    value = INPUT_NAME
    for kind in _NORMALISATION:
        readers = [node for node in model.graph.node if value in node.input]
        if [node.op_type for node in readers] != [kind]:
            raise ValueError(
                f"the image must pass {', '.join(_NORMALISATION)}, but {value!r} goes to "
                f"{', '.join(node.op_type for node in readers)}; int8 needs a graph of export_graph"
            )
        found += readers
        value = readers[0].output[0]
    return found


def _producer(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    found: onnx.NodeProto = next(node for node in model.graph.node if name in node.output)
    return found


def _four_pixels(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return weights (O, C, k, k) of stride 2 as (O, 4 C, k / 2, k / 2) of stride 1, by row, column and colour."""
    outputs, channels, rows, columns = weight.shape
    even = np.pad(weight, ((0, 0), (0, 0), (0, rows % 2), (0, columns % 2)))
    high, wide = even.shape[2] // 2, even.shape[3] // 2
    parts = even.reshape(outputs, channels, high, 2, wide, 2).transpose(0, 3, 5, 1, 2, 4)
    return np.ascontiguousarray(parts.reshape(outputs, 4 * channels, high, wide))


def _border(pads: Sequence[int], size: tuple[int, int], kernel: Sequence[int]) -> list[int]:
    """Return what is added above, left, below and right, so that the kernel of even size ends where it did."""
    ends = []
    for axis in (0, 1):
        outputs = (size[axis] + pads[axis] + pads[axis + 2] - kernel[axis]) // 2 + 1
        ends.append(2 * (outputs - 1) + kernel[axis] + kernel[axis] % 2 - size[axis] - pads[axis])
    return [*pads[:2], *ends]


def _bordered_and_grouped(
    size: tuple[int, int], border: Sequence[int], colour: NDArray[np.uint8]
) -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]], str]:
    """Return nodes from the image (1, H, W, 3) to (1, rows / 2, columns / 2, 12) with its border, and their constants.

    Splitting whole rows and putting pairs of pixels side by side is a quarter of the time of a transposition.
    """
    (height, width), (top, left, bottom, right) = size, border
    rows, columns = height + top + bottom, width + left + right

    def field(high: int, wide: int) -> NDArray[np.uint8]:
        return np.broadcast_to(colour, (1, high, wide, 3)).copy()

    constants: dict[str, NDArray[Any]] = {
        "pixels.top": field(top, width), "pixels.bottom": field(bottom, width),
        "pixels.left": field(rows, left), "pixels.right": field(rows, right),
        "pixels.pairs": np.array([1, rows // 2, 2, columns * 3]),
        "pixels.row": np.array([1, rows // 2, columns // 2, 6]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Concat", ["pixels.top", INPUT_NAME, "pixels.bottom"], ["pixels.high"], axis=1),
        helper.make_node("Concat", ["pixels.left", "pixels.high", "pixels.right"], ["pixels.whole"], axis=2),
        helper.make_node("Reshape", ["pixels.whole", "pixels.pairs"], ["pixels.paired"]),
        helper.make_node("Split", ["pixels.paired"], ["pixels.even", "pixels.odd"], axis=2, num_outputs=2),
        helper.make_node("Reshape", ["pixels.even", "pixels.row"], ["pixels.upper"]),
        helper.make_node("Reshape", ["pixels.odd", "pixels.row"], ["pixels.lower"]),
        helper.make_node("Concat", ["pixels.upper", "pixels.lower"], ["pixels.grouped"], axis=3),
    ]
    return nodes, constants, "pixels.grouped"


def _initializer(model: onnx.ModelProto, name: str) -> NDArray[np.float32]:
    for entry in model.graph.initializer:
        if entry.name == name:
            return numpy_helper.to_array(entry).astype(np.float32)
    raise ValueError(f"{name!r} is no stored tensor of the graph; int8 needs a graph of export_graph")


def _add_constants(model: onnx.ModelProto, constants: dict[str, NDArray[Any]]) -> None:
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())


def _drop_unused(model: onnx.ModelProto) -> None:
    """Remove stored tensors that no node reads any more."""
    read = {name for node in model.graph.node for name in node.input}
    kept = [entry for entry in model.graph.initializer if entry.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _forget(model: onnx.ModelProto, *names: str) -> None:
    """Remove what is noted about types and shapes of values that have changed."""
    for entry in [entry for entry in model.graph.value_info if entry.name in names]:
        model.graph.value_info.remove(entry)
