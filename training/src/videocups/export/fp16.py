"""Half-precision graphs: the network's weights and features in float16, boxes and scores in float32."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from videocups.export.graph import NETWORK, scope_of

# Sums over a whole map, and sums of squares, pass 65504, the greatest float16, long before their terms do.
_WIDE_OPS = ("InstanceNormalization", "ReduceL2")
_HALF, _FLOAT = "_half", "_float"  # appended to the names of values in the other precision


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return ``model`` with the nodes of the network's modules in float16; everything else stays as it is.

    In float16 a box at 1,280 px is known to a pixel, and its area passes the greatest number there is: what computes
    boxes, overlaps and probabilities keeps float32, and a Cast stands wherever the two meet.
    """
    half = onnx.ModelProto()
    half.CopyFrom(model)
    conversion = _Conversion(half)
    for node in model.graph.node:
        conversion.add(node)
    del half.graph.node[:], half.graph.value_info[:], half.graph.initializer[:]
    half.graph.node.extend(conversion.nodes)
    used = {name for node in conversion.nodes for name in node.input}
    half.graph.initializer.extend(tensor for tensor in conversion.stored.values() if tensor.name in used)
    return half


class _Conversion:
    """Takes nodes in order; casts appear before the first node that needs them."""

    def __init__(self, model: onnx.ModelProto) -> None:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
        self._floats = {
            value.name
            for value in (*inferred.value_info, *inferred.input, *inferred.output)
            if value.type.tensor_type.elem_type == TensorProto.FLOAT
        }
        self._outputs = {value.name for value in model.graph.output}
        self.stored = {tensor.name: tensor for tensor in model.graph.initializer}
        self._floats |= {tensor.name for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT}
        self._in_half: set[str] = set()
        self._made: set[str] = set()
        self.nodes: list[onnx.NodeProto] = []

    def add(self, node: onnx.NodeProto) -> None:
        """Take the next node."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        is_half = self._becomes_half(node)
        # of a Resize only the picture has the type of the picture
        convertible = range(1 if node.op_type == "Resize" else len(node.input))
        for place in convertible:
            copy.input[place] = self._as(node.input[place], is_half)
        self.nodes.append(copy)
        if is_half:
            self._in_half.update(name for name in node.output if name in self._floats)

    def _becomes_half(self, node: onnx.NodeProto) -> bool:
        inside = scope_of(node).startswith(NETWORK) and node.op_type not in (*_WIDE_OPS, "Cast")
        return inside and not self._outputs.intersection(node.output)

    def _as(self, name: str, wants_half: bool) -> str:
        """Return the name of a value in the wanted precision, made where it is not there yet."""
        if name not in self._floats or (name in self._in_half) == wants_half:
            return name
        other = name + (_HALF if wants_half else _FLOAT)
        if other not in self._made:
            self._made.add(other)
            if name in self.stored:
                values = numpy_helper.to_array(self.stored[name]).astype(np.float16)
                self.stored[other] = numpy_helper.from_array(values, other)
            else:
                kind = TensorProto.FLOAT16 if wants_half else TensorProto.FLOAT
                self.nodes.append(helper.make_node("Cast", [name], [other], name=f"cast_{other}", to=kind))
        return other
