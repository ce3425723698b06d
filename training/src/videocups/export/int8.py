"""Eight-bit graphs: ranges measured on frames, then weights and activations quantised where it pays (QDQ)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from videocups.export.graph import scope_of
from videocups.export.int8_forms import feed_bytes, multiply_rows, take_bytes
from videocups_core.engine.base import INPUT_NAME

_PRODUCTS = ("Conv", "Gemm", "MatMul")
# Between two products in the body and the pyramid everything may stay in eight bits; elsewhere these compute boxes.
_BETWEEN = {"network.backbone": ("Add", "Relu", "MaxPool"), "network.fpn": ("Add", "Resize")}
_EVERYWHERE = ("Relu",)
_ROWS = ("network.rpn.head.objectness", "network.rpn.head.deltas", "masks.predict")
"""Last layers that look everywhere: products of bytes whose sums stay in float."""
FLOAT_PARTS = (
    "network.cascade.stages.0.classify",
    "network.cascade.stages.0.regress",
    "network.cascade.stages.1.classify",
    "network.cascade.stages.1.regress",
    "network.cascade.stages.2.classify",
    "network.cascade.stages.2.regress",
    "network.semantic_head.predict",
    "network.track_head.fc2",
)
"""Last layers that stay as they are: their outputs are answers, and together they are hardly any work."""
PARTS = (
    "network.backbone.conv1", "network.backbone.bn1", "network.backbone", "network.fpn", "network.rpn",
    "network.semantic_head", "network.cascade", "masks", "network.track_head",
)  # fmt: skip
"""What may stay in float on measurement, tried one by one."""


def prepared(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """Return ``model`` in the form that is quantised, and the tensor that holds the image's bytes as numbers."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    multiply_rows(copy, _ROWS)
    return copy, feed_bytes(copy)


def quantizable_nodes(model: onnx.ModelProto, keep_float: Sequence[str]) -> list[str]:
    """Return the names of the nodes to quantise: the network's products and what lies between them."""
    return [
        node.name
        for node in model.graph.node
        if _is_chosen(node.op_type, scope_of(node)) and not _is_below(scope_of(node), keep_float)
    ]


def calibrate(model: onnx.ModelProto, images: Sequence[NDArray[np.uint8]]) -> Any:
    """Return the range of every activation over ``images`` (1, H, W, 3), as ONNX Runtime's quantiser takes them."""
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

    if not images:
        raise ValueError("int8 needs frames to measure ranges on; give clips with --calibrate")
    kinds = sorted({kind for kinds in (_PRODUCTS, _EVERYWHERE, *_BETWEEN.values()) for kind in kinds})
    with tempfile.TemporaryDirectory(prefix="videocups-int8-") as folder:
        path = Path(folder) / "float.onnx"
        onnx.save(prepared(model)[0], path)
        calibrator = create_calibrator(
            str(path),
            op_types_to_calibrate=kinds,
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=CalibrationMethod.MinMax,
        )
        calibrator.collect_data(_Reader(images))
        return calibrator.compute_data()


def quantize(model: onnx.ModelProto, ranges: Any, keep_float: Sequence[str] = ()) -> onnx.ModelProto:
    """Return ``model`` with weights in int8, one scale a channel, and activations in uint8; ``keep_float``: scopes."""
    from onnxruntime.quantization import QDQQuantizer, QuantType

    copy, pixels = prepared(model)
    as_it_is = {"quant_type": QuantType.QUInt8, "scale": np.array(1, np.float32), "zero_point": np.array(0, np.uint8)}
    nodes = quantizable_nodes(copy, (*FLOAT_PARTS, *keep_float))
    quantizer = QDQQuantizer(
        copy,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=ranges,
        nodes_to_quantize=nodes,
        nodes_to_exclude=[],
        op_types_to_quantize=sorted({node.op_type for node in copy.graph.node if node.name in set(nodes)}),
        extra_options={
            "ActivationSymmetric": False,
            "WeightSymmetric": True,
            "OpTypesToExcludeOutputQuantization": ["MatMul"],
            "TensorQuantOverrides": {pixels: [as_it_is]},
        },
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()  # it appends what it inserts
    quantized: onnx.ModelProto = quantizer.model.model
    take_bytes(quantized, pixels)
    return quantized


def _is_chosen(kind: str, scope: str) -> bool:
    if not scope:
        return False
    return kind in (*_PRODUCTS, *_EVERYWHERE) or any(
        scope.startswith(part) and kind in kinds for part, kinds in _BETWEEN.items()
    )


def _is_below(scope: str, parts: Sequence[str]) -> bool:
    return any(scope == part or scope.startswith(f"{part}.") for part in parts)


class _Reader:
    """Feeds frames to the calibrator, one after the other."""

    def __init__(self, images: Sequence[NDArray[np.uint8]]) -> None:
        self._images: Iterator[NDArray[np.uint8]] = iter(images)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """Return the next input, None after the last."""
        image = next(self._images, None)
        return None if image is None else {INPUT_NAME: image}
