"""The stand-in network as an ONNX graph: nothing is trained, every weight follows from the stand-in world's colours.

Pixels go to the nearest colour (squared distance, one matrix product). Stuff colours give ``semantic``; each thing
colour is one detection slot, whose box is the hull of its rows and columns and whose mask is the area average
of its pixels inside the box, as two matrix products. Static shapes and plain operators only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from videocups_core.standin import MIN_RUN_PX, SLOT_RGB, SLOT_SCORES, STUFF_NAMES, STUFF_RGB, slot_class_id

MASK_SIDE = 28
EMBEDDING_DIMENSIONS = len(SLOT_RGB)
_OPSET, _IR_VERSION = 18, 8
# What a class loses at the image's top and bottom edge, fading to nothing at the middle, as squared colour distance:
# less than the gap to the next colour wherever the stand-in world shows the class, so exact colours stay exact.
_PRIORS = {"sky": (0, 2500), "building": (0, 4000), "sidewalk": (10_000, 0), "road": (10_000, 0)}
_CONFIDENCE_SIGMA = 60.0


class _Graph:
    """Collects nodes and constants; a call adds one node and returns its output's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def number(self, value: float) -> str:
        name = f"number_{value:g}"
        if name not in {constant.name for constant in self.constants}:
            self.constant(name, np.array(value, dtype=np.float32))
        return name

    def axes(self, *axes: int) -> str:
        name = "axes_" + "_".join(map(str, axes))
        if name not in {constant.name for constant in self.constants}:
            self.constant(name, np.array(axes, dtype=np.int64))
        return name

    def __call__(self, op: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        out = out or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], name=out, **attributes))
        return out


def build_standin_onnx(height: int, width: int) -> bytes:
    """Serialise the stand-in network for (1, height, width, 3) images; equal calls give equal bytes."""
    graph = _Graph()
    distances = _class_logits(graph, height)
    _semantic(graph, distances)
    masks, weight = _slot_masks(graph, distances)
    _detections(graph, masks, weight, height, width)
    return _serialize(graph, height, width)


def _class_logits(graph: _Graph, height: int) -> str:
    """(1, H, W, S + K): 2 c·x − |c|² + prior(row), greatest for the nearest colour."""
    colors = np.array(STUFF_RGB + SLOT_RGB, dtype=np.float32)
    bias = np.broadcast_to(-(colors**2).sum(axis=1), (height, 1, len(colors))).copy()
    row = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None]
    for name, (top, bottom) in _PRIORS.items():
        bias[:, :, STUFF_NAMES.index(name)] -= np.rint(top * np.maximum(-row, 0) + bottom * np.maximum(row, 0))
    pixels = graph("Cast", "image", to=TensorProto.FLOAT)
    product = graph("MatMul", pixels, graph.constant("colors", np.ascontiguousarray(2 * colors.T)))
    logits = graph("Add", product, graph.constant("bias", bias))
    squares = graph("ReduceSum", graph("Mul", pixels, pixels), graph.axes(3), keepdims=0)
    graph("Squeeze", squares, graph.axes(0), out="brightness")
    return logits


def _semantic(graph: _Graph, logits: str) -> None:
    stuff = graph(
        "Slice", logits, graph.axes(0), graph.constant("stuff_end", np.array([len(STUFF_NAMES)])), graph.axes(3)
    )
    best = graph("Squeeze", graph("ArgMax", stuff, axis=3, keepdims=0), graph.axes(0))
    graph("Cast", best, to=TensorProto.UINT8, out="semantic")
    greatest = graph("Squeeze", graph("ReduceMax", stuff, graph.axes(3), keepdims=0), graph.axes(0))
    distance = graph("Sub", "brightness", greatest)  # squared colour distance (plus prior) to the best stuff colour
    decay = graph("Exp", graph("Mul", distance, graph.number(-0.5 / _CONFIDENCE_SIGMA**2)))
    _to_uint8(graph, decay, "semantic_score")


def _slot_masks(graph: _Graph, logits: str) -> tuple[str, str]:
    """(K, H, W) float 0/1 masks of the thing colours, and the winner's shape-compatible slot numbers."""
    winner = graph("ArgMax", logits, axis=3, keepdims=0)
    numbers = np.arange(len(SLOT_RGB), dtype=np.int64).reshape(-1, 1, 1) + len(STUFF_NAMES)
    slots = graph.constant("slots", numbers)
    return graph("Cast", graph("Equal", winner, slots), to=TensorProto.FLOAT), winner


def _detections(graph: _Graph, masks: str, weight: str, height: int, width: int) -> None:
    left, right = _hull(graph, masks, 1, width)
    top, bottom = _hull(graph, masks, 2, height)
    seen = graph("And", graph("Greater", right, left), graph("Greater", bottom, top))
    valid = graph("Cast", seen, to=TensorProto.FLOAT)  # (K,)
    graph("Mul", valid, graph.constant("slot_scores", SLOT_SCORES), out="scores")
    corners = [graph("Unsqueeze", graph("Mul", edge, valid), graph.axes(1)) for edge in (left, top, right, bottom)]
    graph("Concat", *corners, axis=1, out="boxes")
    rows = _cell_weights(graph, top, bottom, height)  # (K, m, H)
    columns = _cell_weights(graph, left, right, width)  # (K, m, W)
    half = graph("MatMul", rows, masks)
    average = graph("MatMul", half, graph("Transpose", columns, perm=[0, 2, 1]))
    _to_uint8(graph, average, "masks")
    class_ids = np.array([slot_class_id(slot) for slot in range(len(SLOT_RGB))], dtype=np.int64)
    graph("Identity", graph.constant("slot_classes", class_ids), out="classes")
    graph("Identity", graph.constant("slot_embeddings", slot_embeddings()), out="embeddings")


def _hull(graph: _Graph, masks: str, summed_axis: int, size: int) -> tuple[str, str]:
    """First and last + 1 position along the other axis where a slot has MIN_RUN_PX pixels; (K,) floats."""
    counts = graph("ReduceSum", masks, graph.axes(summed_axis), keepdims=0)
    full = graph("Cast", graph("GreaterOrEqual", counts, graph.number(MIN_RUN_PX)), to=TensorProto.FLOAT)
    position = np.arange(size, dtype=np.float32)
    up = graph("Mul", full, graph.constant(f"up_{size}_{summed_axis}", position + 1))
    down = graph("Mul", full, graph.constant(f"down_{size}_{summed_axis}", size - position))
    last = graph("ReduceMax", up, graph.axes(1), keepdims=0)
    first = graph("Sub", graph.number(size), graph("ReduceMax", down, graph.axes(1), keepdims=0))
    return first, last


def _cell_weights(graph: _Graph, low: str, high: str, size: int) -> str:
    """(K, m, size) share of each pixel in each of the m equal cells between ``low`` and ``high``; rows sum to 1."""
    cells = np.arange(MASK_SIDE, dtype=np.float32).reshape(1, -1, 1)
    pixels = np.arange(size, dtype=np.float32).reshape(1, 1, -1)
    span = graph("Max", graph("Sub", high, low), graph.number(1))
    cell = graph("Unsqueeze", graph("Div", span, graph.number(MASK_SIDE)), graph.axes(1, 2))
    begin_at = graph("Unsqueeze", low, graph.axes(1, 2))
    key = f"{len(graph.nodes)}"
    begin = graph("Add", begin_at, graph("Mul", cell, graph.constant(f"cells_{key}", cells)))
    end = graph("Add", begin, cell)
    inner_end = graph("Min", graph.constant(f"pixel_end_{key}", pixels + 1), end)
    inner_begin = graph("Max", graph.constant(f"pixel_begin_{key}", pixels), begin)
    return graph("Div", graph("Relu", graph("Sub", inner_end, inner_begin)), cell)


def _to_uint8(graph: _Graph, share: str, out: str) -> None:
    """Write 0..1 as rounded 0..255."""
    scaled = graph("Round", graph("Mul", share, graph.number(255)))
    graph("Cast", graph("Clip", scaled, graph.number(0), graph.number(255)), to=TensorProto.UINT8, out=out)


def slot_embeddings(scale: float = 36.0) -> NDArray[np.float32]:
    """(K, K) corners of a simplex: dot product ``scale`` with itself, −scale / (K − 1) with every other slot."""
    count = len(SLOT_RGB)
    corners = np.eye(count) - 1.0 / count
    return np.asarray(corners * np.sqrt(scale * count / (count - 1)), dtype=np.float32)


def _serialize(graph: _Graph, height: int, width: int) -> bytes:
    count, tensor = len(SLOT_RGB), helper.make_tensor_value_info
    outputs = [
        tensor("semantic", TensorProto.UINT8, [height, width]),
        tensor("masks", TensorProto.UINT8, [count, MASK_SIDE, MASK_SIDE]),
        tensor("boxes", TensorProto.FLOAT, [count, 4]),
        tensor("scores", TensorProto.FLOAT, [count]),
        tensor("classes", TensorProto.INT64, [count]),
        tensor("embeddings", TensorProto.FLOAT, [count, EMBEDDING_DIMENSIONS]),
        tensor("semantic_score", TensorProto.UINT8, [height, width]),
    ]
    image = tensor("image", TensorProto.UINT8, [1, height, width, 3])
    proto = helper.make_graph(graph.nodes, "videocups_standin", [image], outputs, graph.constants)
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="videocups")
    model.ir_version = _IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data
