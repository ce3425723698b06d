from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.training.export.micro import HEIGHT, WIDTH

from videocups.export.graph import scope_of
from videocups.export.int8 import calibrate, prepared, quantize
from videocups.export.int8_forms import feed_bytes, multiply_rows

HEADS = ("network.rpn.head.objectness", "network.rpn.head.deltas", "masks.predict")


def run(model: onnx.ModelProto, image: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"image": image})


def first_convolution(size: tuple[int, int], kernel: int, pad: int, mean: float, *, bias: bool) -> onnx.ModelProto:
    """Normalise and convolve with stride 2, as every exported graph begins."""
    rng = np.random.default_rng(0)
    stored = {
        "mean": np.full((1, 3, 1, 1), mean, np.float32) + np.float32([0, 7, -5]).reshape(1, 3, 1, 1),
        "deviation": np.float32([58, 57, 61]).reshape(1, 3, 1, 1),
        "weight": rng.normal(size=(4, 3, kernel, kernel)).astype(np.float32),
    }
    if bias:
        stored["bias"] = rng.normal(size=4).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["numbers"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Sub", ["planes", "mean"], ["centered"]),
        helper.make_node("Div", ["centered", "deviation"], ["normalised"]),
        helper.make_node(
            "Conv", ["normalised", "weight"] + ["bias"] * bias, ["field"], strides=[2, 2], pads=[pad] * 4, group=1
        ),
    ]
    ends = [(side + 2 * pad - kernel) // 2 + 1 for side in size]
    graph = helper.make_graph(
        nodes, "first",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, (1, *size, 3))],
        [helper.make_tensor_value_info("field", TensorProto.FLOAT, (1, 4, *ends))],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("size", "kernel", "pad"), [((16, 32), 7, 3), ((16, 16), 3, 1), ((15, 18), 5, 2), ((8, 8), 4, 1)]
)
def test_bytes_give_what_normalised_numbers_give(size: tuple[int, int], kernel: int, pad: int, bias: bool) -> None:
    image = np.random.default_rng(1).integers(0, 256, (1, *size, 3), np.uint8)
    model = first_convolution(size, kernel, pad, 110, bias=bias)
    (wanted,) = run(model, image)
    feed_bytes(model)
    onnx.checker.check_model(model)
    (found,) = run(model, image)
    assert not {"Sub", "Div"} & {node.op_type for node in model.graph.node}
    np.testing.assert_allclose(found, wanted, atol=2e-4)


def test_a_border_of_bytes_is_a_mean_of_whole_grey_levels() -> None:
    image = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3), np.uint8)
    model = first_convolution((32, 32), 7, 3, 110.4, bias=False)
    (wanted,) = run(model, image)
    feed_bytes(model)
    difference = np.abs(run(model, image)[0] - wanted)
    assert difference[:, :, 2:-2, 2:-2].max() < 2e-4
    assert 1e-3 < difference.max() < 0.5 / 57 * 49 * 3  # half a level under every weight at the very most


def test_another_beginning_is_refused() -> None:
    model = first_convolution((8, 8), 3, 1, 0, bias=False)
    model.graph.node[3].op_type = "Mul"
    with pytest.raises(ValueError, match="'centered' goes to Mul"):
        feed_bytes(model)


def test_last_layers_as_products_say_the_same(graph: onnx.ModelProto) -> None:
    image = np.random.default_rng(2).integers(0, 256, (1, HEIGHT, WIDTH, 3), np.uint8)
    wanted = run(graph, image)
    multiply_rows(graph, HEADS)
    onnx.checker.check_model(graph)
    left = {scope_of(node) for node in graph.graph.node if node.op_type == "Conv"}
    assert not left & set(HEADS)
    for name, first, second in zip(
        [output.name for output in graph.graph.output], wanted, run(graph, image), strict=True
    ):
        np.testing.assert_allclose(
            second.astype(float), first.astype(float), atol=1 if first.dtype == np.uint8 else 1e-3, err_msg=name
        )


def test_eight_bits_reach_from_the_image_to_the_last_layers(graph: onnx.ModelProto) -> None:
    rng = np.random.default_rng(3)
    images = [rng.integers(0, 256, (1, HEIGHT, WIDTH, 3), np.uint8) for _ in range(2)]
    float_products = [
        node.name for node in prepared(graph)[0].graph.node if node.op_type == "MatMul" and scope_of(node)
    ]
    quantized = quantize(graph, calibrate(graph, images))
    makers = {output: node for node in quantized.graph.node for output in node.output}

    def origin(name: str) -> str:
        """Return where a value comes from, past what only moves numbers."""
        while name in makers and makers[name].op_type in ("DequantizeLinear", "QuantizeLinear", "Transpose"):
            name = makers[name].input[0]
        return makers[name].op_type if name in makers else name

    (first,) = (node for node in quantized.graph.node if node.op_type == "Conv" and "pixels.weight" in node.input[1])
    assert origin(first.input[0]) == "Concat"  # of bytes: no Cast on the way
    products = [node for node in quantized.graph.node if node.name in float_products]
    assert len(products) == 11  # two at each of five levels, and the masks
    readers = {name: node for node in quantized.graph.node for name in node.input}
    for product in products:
        assert [makers[name].op_type for name in product.input] == ["DequantizeLinear"] * 2
        assert readers[product.output[0]].op_type == "Transpose"  # its answer is not rounded
    rectified = [scope_of(node) for node in quantized.graph.node if node.op_type == "Relu" and scope_of(node)]
    assert all(scope.startswith("network.semantic_head") for scope in rectified)  # behind group norms; else merged
    run(quantized, images[0])
