"""From the static network to an ONNX graph that builds everywhere, and the proof that it does."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping

import onnx
import torch

from videocups.model.static_network import OUTPUT_NAMES, StaticNetwork
from videocups_core.engine.base import INPUT_NAME

OPSET = 18
SCOPES = "pkg.torch.onnx.name_scopes"  # where torch's exporter notes the modules a node belongs to
NETWORK = ("network", "masks")  # the network's modules; all else computes boxes and chooses among them
_MANY_CLASSES = 8  # from here on they lie side by side in the arg-max; fewer are quicker as planes
_LAST = [0, 2, 3, 1]
# What TensorRT's parser reads without a plugin and with a shape known beforehand, as far as a network like ours
# may need it. The list says what may appear: an operator that is not on it fails the export by its name.
_ALLOWED = """
    Abs Add And ArgMax AveragePool Cast Ceil Clip Concat Constant ConstantOfShape Conv ConvTranspose DepthToSpace
    DequantizeLinear Div Equal Exp Expand Flatten Floor Gather GatherElements Gemm GlobalAveragePool Greater
    GreaterOrEqual Identity InstanceNormalization Less LessOrEqual Log MatMul Max MaxPool Min Mul Neg Not Or Pad Pow
    QuantizeLinear Reciprocal ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape Resize Round
    Sigmoid Slice Softmax Split Sqrt Squeeze Sub Tanh Tile TopK Transpose Trilu Unsqueeze Where
"""
ALLOWED_OPS = frozenset(_ALLOWED.split())


class GraphError(ValueError):
    """A graph that some engine could not build; the message names the operator or tensor."""


def export_graph(static: StaticNetwork) -> onnx.ModelProto:
    """Trace ``static`` into an ONNX model with fixed shapes, weights inside; GraphError names what would not build."""
    static.eval()
    image = torch.zeros(1, static.height, static.width, 3, dtype=torch.uint8)
    # the exporter warns about its own internals; what matters is checked below
    exporter_log = logging.getLogger("torch.onnx")
    level = exporter_log.level
    exporter_log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                static, (image,), dynamo=True, opset_version=OPSET, verbose=False, optimize=True,
                input_names=[INPUT_NAME], output_names=list(OUTPUT_NAMES),
            )  # fmt: skip
    finally:
        exporter_log.setLevel(level)
    assert program is not None  # it is None only where the old exporter writes a file
    model: onnx.ModelProto = program.model_proto
    put_classes_last(model)
    check_graph(model)
    return model


def put_classes_last(model: onnx.ModelProto) -> None:
    """Enlarge the logits of many classes, and take the best, with the classes of a pixel side by side.

    ONNX Runtime walks from plane to plane for each pixel otherwise: at 25 classes and 256×512 that is 11 ms against 4.
    """
    makers = {output: node for node in model.graph.node for output in node.output}
    stored = {entry.name: entry for entry in model.graph.initializer}
    for best in [node for node in model.graph.node if node.op_type == "ArgMax"]:
        resize = makers.get(best.input[0])
        if resize is None or resize.op_type != "Resize":
            continue
        size = onnx.numpy_helper.to_array(stored[resize.input[3]])
        if size[1] < _MANY_CLASSES:
            continue
        turned, name = f"{resize.input[0]}_classes_last", f"{resize.input[3]}_classes_last"
        transpose = onnx.helper.make_node("Transpose", [resize.input[0]], [turned], turned, perm=_LAST)
        model.graph.node.insert(list(model.graph.node).index(resize), transpose)
        model.graph.initializer.append(onnx.numpy_helper.from_array(size[_LAST], name))
        resize.input[0], resize.input[3] = turned, name
        next(entry for entry in best.attribute if entry.name == "axis").i = 3
        changed = [entry for entry in model.graph.value_info if entry.name == resize.output[0]]
        for entry in changed:
            model.graph.value_info.remove(entry)


def check_graph(model: onnx.ModelProto) -> None:
    """Raise GraphError with names where the graph has an operator of its own kind or a shape that is not fixed."""
    onnx.checker.check_model(model)
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if opsets.get("", 0) != OPSET:
        raise GraphError(f"the graph is of opset {opsets.get('')}, engines are tested with {OPSET}; export it again")
    foreign = [
        f"{node.domain + '::' if node.domain else ''}{node.op_type} ({node.name or 'unnamed'})"
        for node in model.graph.node
        if node.domain not in ("", "ai.onnx") or node.op_type not in ALLOWED_OPS
    ]
    if foreign:
        raise GraphError(
            f"the graph holds {', '.join(foreign[:5])}, which needs a plugin or a shape that depends on the data; "
            "write it with plain operators (model/static_ops.py)"
        )
    if dynamic := list(_dynamic_values(model)):
        raise GraphError(
            f"{', '.join(dynamic[:5])} has no fixed shape; engines are built for fixed shapes, write it without them"
        )


def op_table(model: onnx.ModelProto) -> Mapping[str, int]:
    """Return how often each operator occurs, most frequent first."""
    return dict(Counter(node.op_type for node in model.graph.node).most_common())


def scope_of(node: onnx.NodeProto) -> str:
    """Return the path of the module that a node belongs to, such as ``network.backbone.layer1.0.conv1``; may be ''."""
    for entry in node.metadata_props:
        if entry.key == SCOPES:
            scopes = [scope.strip(" '\"") for scope in entry.value.strip("[]").split(",")]
            return max((scope for scope in scopes if scope.partition(".")[0] in NETWORK), key=len, default="")
    return ""


def _dynamic_values(model: onnx.ModelProto) -> Iterator[str]:
    """Yield the names of values whose shape is not known when the graph is built."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    known = {}
    for value in (*inferred.value_info, *inferred.output, *inferred.input):
        shape = value.type.tensor_type
        known[value.name] = shape.HasField("shape") and all(dim.HasField("dim_value") for dim in shape.shape.dim)
    for node in inferred.node:
        yield from (f"output '{name}' of {node.op_type}" for name in node.output if name and not known.get(name, False))
