"""Half-precision graphs: the network's weights and features in float16, boxes and scores in float32."""

from __future__ import annotations

import onnx

from videocups.export.graph import NETWORK, scope_of

# Sums over a whole map pass 65504, the greatest float16, long before the map's values do.
_WIDE_OPS = ("InstanceNormalization",)


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return ``model`` with the nodes of the network's modules in float16; everything else stays as it is.

    In float16 a box at 1,280 px is known to a pixel, and its area passes the greatest number there is: what computes
    boxes, overlaps and probabilities keeps float32, and a Cast stands wherever the two meet.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    exact = [
        node.name for node in copy.graph.node if not scope_of(node).startswith(NETWORK) or node.op_type in _WIDE_OPS
    ]
    half: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True, node_block_list=exact)
    return half
