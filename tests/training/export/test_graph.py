from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from videocups.export.fp16 import to_half
from videocups.export.graph import NETWORK, OPSET, GraphError, check_graph, op_table, put_classes_last, scope_of


def model_of(
    *nodes: onnx.NodeProto,
    shape: tuple[int | str, ...] = (1, 3, 8, 8),
    gives: int = TensorProto.FLOAT,
    dims: tuple[int | str, ...] = (1, 3, 8, 8),
) -> onnx.ModelProto:
    """A graph x → … → y."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info(nodes[-1].output[0], gives, dims)
    constants = [
        helper.make_tensor("boxes", TensorProto.FLOAT, [1, 4], [0, 0, 4, 4]),
        helper.make_tensor("batch", TensorProto.INT64, [1], [0]),
        helper.make_tensor("boxes3", TensorProto.FLOAT, [1, 1, 4], [0, 0, 4, 4]),
        helper.make_tensor("scores", TensorProto.FLOAT, [1, 1, 1], [0.5]),
    ]
    graph = helper.make_graph(list(nodes), "g", [x], [y], constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.vendor", 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 10
    return model


def test_the_networks_graph_is_clean(graph: onnx.ModelProto) -> None:
    check_graph(graph)
    assert not {"NonMaxSuppression", "NonZero", "Loop", "If", "Scan", "RoiAlign", "GridSample"} & set(op_table(graph))
    assert [entry.version for entry in graph.opset_import if entry.domain == ""] == [18]
    assert not any(tensor.data_location for tensor in graph.graph.initializer)  # weights are inside


def test_every_product_knows_its_module(graph: onnx.ModelProto) -> None:
    products = [node for node in graph.graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(products) > 40
    assert all(scope_of(node).startswith(NETWORK) for node in products)
    rectified = [scope_of(node) for node in graph.graph.node if node.op_type == "Relu"]
    assert rectified.count("masks") == 2  # the head itself calls them: one behind its convolution, one enlarged
    assert not any(scope_of(node).startswith(NETWORK) for node in graph.graph.node if node.op_type == "TopK")


@pytest.mark.parametrize(
    ("node", "gives", "dims"),
    [
        (helper.make_node("NonZero", ["x"], ["y"], name="find"), TensorProto.INT64, (4, "n")),
        (helper.make_node("RoiAlign", ["x", "boxes", "batch"], ["y"], name="find"), TensorProto.FLOAT, (1, 3, 1, 1)),
        (helper.make_node("NonMaxSuppression", ["boxes3", "scores"], ["y"], name="find"), TensorProto.INT64, ("n", 3)),
        (helper.make_node("Magic", ["x"], ["y"], name="find", domain="com.vendor"), TensorProto.FLOAT, (1, 3, 8, 8)),
    ],
    ids=lambda value: value.op_type if isinstance(value, onnx.NodeProto) else "",
)
def test_what_needs_a_plugin_is_named(node: onnx.NodeProto, gives: int, dims: tuple[int | str, ...]) -> None:
    with pytest.raises(GraphError, match=rf"the graph holds (com\.vendor::)?{node.op_type} \(find\)"):
        check_graph(model_of(node, gives=gives, dims=dims))


def test_shapes_that_are_not_fixed_are_named() -> None:
    relu = helper.make_node("Relu", ["x"], ["y"])
    check_graph(model_of(relu))
    with pytest.raises(GraphError, match="output 'y' of Relu has no fixed shape"):
        check_graph(model_of(relu, shape=("batch", 3, 8, 8), dims=("batch", 3, 8, 8)))


def test_another_opset_is_refused() -> None:
    model = model_of(helper.make_node("Relu", ["x"], ["y"]))
    model.opset_import[0].version = 17
    with pytest.raises(GraphError, match="of opset 17"):
        check_graph(model)


def test_half_precision_is_the_networks_alone(graph: onnx.ModelProto) -> None:
    half = to_half(graph)
    check_graph(half)
    kinds = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    outputs = {output.name for output in half.graph.output}
    for node in half.graph.node:
        if node.op_type in ("Conv", "Gemm") and not outputs.intersection(node.output):
            assert kinds[node.input[1]] == TensorProto.FLOAT16, node.name
    inferred = onnx.shape_inference.infer_shapes(half, strict_mode=True).graph
    types = {value.name: value.type.tensor_type.elem_type for value in inferred.value_info}
    wide = [
        node
        for node in half.graph.node
        if node.op_type in ("TopK", "Floor", "InstanceNormalization", "ReduceL2", "Exp")
    ]
    assert wide
    assert all(types.get(name, TensorProto.FLOAT) != TensorProto.FLOAT16 for node in wide for name in node.input)
    assert half.ByteSize() < 0.75 * graph.ByteSize()  # of a network this small, constants are half of the file
    assert [output.type.tensor_type.elem_type for output in half.graph.output] == [
        output.type.tensor_type.elem_type for output in graph.graph.output
    ]


@pytest.mark.parametrize(("classes", "axis"), [(5, 1), (9, 3)])
def test_many_classes_are_compared_side_by_side(classes: int, axis: int) -> None:
    """The best of them is the same."""
    shape = (1, classes, 6, 10)
    nodes = [
        helper.make_node("Resize", ["x", "", "", "size"], ["large"], mode="linear"),
        helper.make_node("ArgMax", ["large"], ["y"], axis=1, keepdims=0),
    ]
    model = model_of(*nodes, shape=shape, gives=TensorProto.INT64, dims=(1, 24, 40))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, classes, 24, 40]), "size"))
    logits = np.random.default_rng(0).normal(size=shape).astype(np.float32)

    def best() -> np.ndarray:
        return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": logits})[0]

    wanted = best()
    put_classes_last(model)
    check_graph(model)
    assert [helper.get_attribute_value(entry) for entry in model.graph.node[-1].attribute if entry.name == "axis"] == [
        axis
    ]
    assert np.array_equal(best(), wanted)
    assert len(np.unique(wanted)) == classes
