from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from videocups_core.bundle import ModelBundle, read_bundle, write_bundle
from videocups_core.engine import EngineConfig, EngineError, InputSpec, create_engine
from videocups_core.engine.onnx import OnnxConfig, OnnxEngine
from videocups_core.engine.onnx_file import Node, OnnxFacts, Tensor, precision_of, read_onnx_facts
from videocups_core.standin import SLOT_SCORES, StandInWorld

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed here")

SPEC = InputSpec(64, 96)


@pytest.fixture(scope="module")
def standin_engine(standin_bundle: ModelBundle) -> OnnxEngine:
    engine = OnnxEngine(standin_bundle, OnnxConfig("cpu", 1))
    engine.load()
    return engine


def test_gives_the_contract(standin_engine: OnnxEngine) -> None:
    world = StandInWorld()
    raw = standin_engine.infer(world.image_rgb(0)[None])
    boxes = world.visible_boxes(0)
    assert raw.semantic.shape == (256, 512)
    assert raw.masks.shape == (12, 28, 28)
    assert raw.embeddings.dtype == np.float32
    assert {slot: tuple(raw.boxes[slot]) for slot in np.flatnonzero(raw.scores)} == boxes
    np.testing.assert_array_equal(raw.scores[list(boxes)], SLOT_SCORES[list(boxes)])
    assert (raw.masks[list(boxes)] == 255).all()
    assert raw.semantic_score is not None
    road = (world.stuff_map() == 4) & (raw.semantic == 4)
    for x0, y0, x1, y1 in boxes.values():
        road[y0:y1, x0:x1] = False
    assert (raw.semantic_score[road] == 255).all()  # exactly its colour, and where it may be


def test_describes_what_it_verified(standin_engine: OnnxEngine, standin_bundle: ModelBundle) -> None:
    info = standin_engine.describe()
    assert (info.backend, info.device, info.provider) == ("onnxruntime", "cpu", "CPUExecutionProvider")
    assert (info.precision, info.threads, info.input_shape) == ("fp32", 1, (1, 256, 512, 3))
    assert info.model_sha256 == standin_bundle.onnx_sha256
    assert "semantic_score" in info.outputs
    assert info.notes == ()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((256, 512, 3), np.uint8),
        np.zeros((1, 256, 511, 3), np.uint8),
        np.zeros((1, 3, 256, 512), np.uint8),
        np.zeros((1, 256, 512, 3), np.float32),
    ],
)
def test_a_wrong_image_is_refused(standin_engine: OnnxEngine, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"the network takes a \(1, 256, 512, 3\) uint8"):
        standin_engine.infer(image)


def test_an_engine_must_be_loaded_first(standin_bundle: ModelBundle) -> None:
    engine = create_engine(standin_bundle)
    with pytest.raises(RuntimeError, match=r"call load\(\) first"):
        engine.infer(np.zeros((1, 256, 512, 3), np.uint8))
    with pytest.raises(RuntimeError, match=r"call load\(\) first"):
        engine.describe()


class FallenBack:
    """Stands in for ONNX Runtime's session on a machine whose CUDA does not come up: it has only the CPU provider."""

    providers = ("CPUExecutionProvider",)

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def get_providers(self) -> list[str]:
        return list(self.providers)


class OnCuda(FallenBack):
    """Stands in for a session whose CUDA did come up, with ONNX Runtime's default of TF32."""

    providers = ("CUDAExecutionProvider", "CPUExecutionProvider")

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        return {"CUDAExecutionProvider": {"device_id": "1", "use_tf32": "1"}, "CPUExecutionProvider": {}}


def test_on_cuda_the_device_and_tf32_are_said(standin_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    def no_cuda(device: str) -> None:
        raise EngineError("no stream of our own, which a session on the CPU cannot take")

    create = onnxruntime.InferenceSession
    monkeypatch.setattr("videocups_core.engine.onnx.open_cuda", no_cuda)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda data, sess_options, providers: OnCuda(create(data, sess_options, ["CPUExecutionProvider"])),
    )
    engine = OnnxEngine(standin_bundle, OnnxConfig("cuda:1"))
    engine.load()
    info = engine.describe()
    assert (info.device, info.provider) == ("cuda:1", "CUDAExecutionProvider")
    assert "TF32" in info.notes[-1]


@pytest.fixture
def cuda_that_does_not_come_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    create = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])

    def session(data: bytes, sess_options: Any, providers: list[Any]) -> FallenBack:
        assert providers[0][0] == "CUDAExecutionProvider"
        return FallenBack(create(data, sess_options=sess_options, providers=["CPUExecutionProvider"]))

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)


@pytest.mark.usefixtures("cuda_that_does_not_come_up")
def test_a_silent_fall_back_to_the_cpu_is_refused_or_said(standin_bundle: ModelBundle) -> None:
    with pytest.raises(EngineError, match="fell back to the CPU"):
        OnnxEngine(standin_bundle, OnnxConfig("cuda:0")).load()
    engine = OnnxEngine(standin_bundle, OnnxConfig("auto"))
    engine.load()
    assert engine.describe().device == "cpu"
    assert engine.describe().notes == ("CUDA is installed but did not come up, running on the CPU",)


def test_cuda_without_a_cuda_build_is_refused(standin_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(EngineError, match="install onnxruntime-gpu or set device to cpu"):
        OnnxEngine(standin_bundle, OnnxConfig("cuda")).load()


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:1", ""])
def test_device_names_are_checked(device: str) -> None:
    with pytest.raises(ValueError, match="device must be auto, cpu, cuda or cuda:N"):
        OnnxConfig(device)


def test_a_graph_that_is_none_is_refused(tmp_path: Path, standin_bundle: ModelBundle) -> None:
    for name, data in {"text": b"hello", "half": standin_bundle.onnx_bytes()[:20_000]}.items():
        broken = rewrite(standin_bundle, tmp_path / name, data)
        with pytest.raises(ValueError, match=r"no ONNX|truncated|ONNX Runtime refuses"):
            OnnxEngine(broken, OnnxConfig("cpu")).load()


def test_a_bundle_that_describes_another_size_is_refused(bundle_folder: Path) -> None:
    path = bundle_folder / "model.json"
    raw = json.loads(path.read_text())
    raw["input"]["width"] = 640
    path.write_text(json.dumps(raw))
    with pytest.raises(EngineError, match=r"must take one input 'image' uint8 \[1, 256, 640, 3\]"):
        OnnxEngine(read_bundle(bundle_folder), OnnxConfig("cpu")).load()


def test_an_unknown_backend_is_refused(standin_bundle: ModelBundle) -> None:
    with pytest.raises(ValueError, match="'onnxruntime' or 'tensorrt'"):
        create_engine(standin_bundle, EngineConfig(backend="openvino"))


def rewrite(bundle: ModelBundle, folder: Path, data: bytes, **changes: Any) -> ModelBundle:
    fields = {"model_id": "m", "classes": bundle.classes, "input": bundle.input, **changes}
    return write_bundle(folder, data, **fields)


# Precision: graphs with a real convolution, made with the onnx package.

Exporter = Callable[[str], bytes]


@pytest.fixture(scope="module")
def conv_graph(standin_bundle: ModelBundle) -> Exporter:
    """The stand-in's contract on a 32×64 image, with a convolution in the asked-for storage in front of semantic."""
    onnx = pytest.importorskip("onnx", reason="test graphs need the onnx package")
    helper, tensors, kinds = onnx.helper, onnx.numpy_helper, onnx.TensorProto
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 0.1, (8, 3, 3, 3)).astype(np.float32)
    constants = {
        "boxes0": np.zeros((2, 4), np.float32),
        "scores0": np.zeros(2, np.float32),
        "classes0": np.full(2, 5, np.int64),
        "embeddings0": np.zeros((2, 3), np.float32),
        "masks0": np.zeros((2, 28, 28), np.uint8),
        "axis": np.array([0], np.int64),
        "bias": np.zeros(8, np.float32),
        "scale": np.array(0.01, np.float32),
        "zero": np.array(0, np.int8),
        "zero_u": np.array(128, np.uint8),
        "scale_x": np.array(2.0, np.float32),
        "five": np.array(5, np.int64),
    }
    conv = {"pads": [1, 1, 1, 1]}

    def nodes_for(kind: str) -> list[Any]:
        node = helper.make_node
        if kind == "fp32":
            constants["weight"] = weight
            return [node("Conv", ["x", "weight", "bias"], ["y"], **conv)]
        if kind == "fp16":
            constants["weight"], constants["bias16"] = weight.astype(np.float16), np.zeros(8, np.float16)
            return [
                node("Cast", ["x"], ["x16"], to=kinds.FLOAT16),
                node("Conv", ["x16", "weight", "bias16"], ["y16"], **conv),
                node("Cast", ["y16"], ["y"], to=kinds.FLOAT),
            ]
        constants["weight"] = np.clip(np.rint(weight / 0.01), -127, 127).astype(np.int8)
        dequantized = node("DequantizeLinear", ["weight", "scale", "zero"], ["w"])
        if kind == "weights only":
            return [dequantized, node("Conv", ["x", "w", "bias"], ["y"], **conv)]
        return [
            node("QuantizeLinear", ["x", "scale_x", "zero_u"], ["xq"]),
            node("DequantizeLinear", ["xq", "scale_x", "zero_u"], ["xd"]),
            dequantized,
            node("Conv", ["xd", "w"], ["yd"], **conv),
            node("QuantizeLinear", ["yd", "scale_x", "zero_u"], ["yq"]),
            node("DequantizeLinear", ["yq", "scale_x", "zero_u"], ["y"]),
        ]

    def export(kind: str) -> bytes:
        node = helper.make_node
        nodes = [
            node("Cast", ["image"], ["float_image"], to=kinds.FLOAT),
            node("Transpose", ["float_image"], ["x"], perm=[0, 3, 1, 2]),
            *nodes_for(kind),
            node("ArgMax", ["y"], ["best"], axis=1, keepdims=0),
            node("Mod", ["best", "five"], ["stuff"]),
            node("Squeeze", ["stuff", "axis"], ["best2"]),
            node("Cast", ["best2"], ["semantic"], to=kinds.UINT8),
            *[node("Identity", [f"{name}0"], [name]) for name in ("boxes", "scores", "classes", "embeddings", "masks")],
        ]
        info = helper.make_tensor_value_info
        outputs = [
            info("semantic", kinds.UINT8, [32, 64]),
            info("masks", kinds.UINT8, [2, 28, 28]),
            info("boxes", kinds.FLOAT, [2, 4]),
            info("scores", kinds.FLOAT, [2]),
            info("classes", kinds.INT64, [2]),
            info("embeddings", kinds.FLOAT, [2, 3]),
        ]
        used = {name for item in nodes for name in item.input}
        graph = helper.make_graph(
            nodes,
            "conv",
            [info("image", kinds.UINT8, [1, 32, 64, 3])],
            outputs,
            [tensors.from_array(value, name) for name, value in constants.items() if name in used],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())

    return export


@pytest.mark.parametrize(
    ("kind", "stored", "computed", "note"),
    [
        ("fp32", "fp32", "fp32", None),
        ("int8", "fp32", "int8", None),  # QDQ form: floats on paper, fused into an integer kernel
        ("weights only", "fp32", "fp32", "stored quantised but multiplied in fp32"),
        ("fp16", "fp16", "fp32", "stored in fp16 but multiplied in fp32"),
    ],
)
def test_precision_is_read_from_what_runs(
    conv_graph: Exporter,
    standin_bundle: ModelBundle,
    tmp_path: Path,
    kind: str,
    stored: str,
    computed: str,
    note: str | None,
) -> None:
    data = conv_graph(kind)
    assert precision_of(read_onnx_facts(data).weight_types()) == stored
    bundle = rewrite(standin_bundle, tmp_path, data, input=InputSpec(32, 64))
    engine = OnnxEngine(bundle, OnnxConfig("cpu", 1))
    engine.load()
    info = engine.describe()
    assert info.precision == computed
    assert "semantic_score" not in info.outputs
    if note is None:
        assert info.notes == ()
    else:
        assert note in info.notes[0]


def test_weights_in_another_file_are_refused(conv_graph: Exporter, standin_bundle: ModelBundle, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="test graphs need the onnx package")
    model = onnx.load_from_string(conv_graph("fp32"))
    for tensor in model.graph.initializer:
        if tensor.name == "weight":
            onnx.external_data_helper.set_external_data(tensor, location="../../../etc/passwd", length=864)
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
    bundle = rewrite(standin_bundle, tmp_path, model.SerializeToString(), input=InputSpec(32, 64))
    with pytest.raises(EngineError, match="keeps weights in another file"):
        OnnxEngine(bundle, OnnxConfig("cpu")).load()


def test_the_reader_agrees_with_the_onnx_package(standin_bundle: ModelBundle) -> None:
    onnx = pytest.importorskip("onnx", reason="compares with the onnx package")
    data = standin_bundle.onnx_bytes()
    graph = onnx.load_from_string(data).graph
    facts = read_onnx_facts(data)
    assert [(node.op, node.inputs, node.outputs) for node in facts.nodes] == [
        (node.op_type, tuple(node.input), tuple(node.output)) for node in graph.node
    ]
    names = {onnx.TensorProto.FLOAT: "fp32", onnx.TensorProto.INT64: "int64"}
    casts = [{1: "fp32", 2: "uint8"}[node.attribute[0].i] for node in graph.node if node.op_type == "Cast"]
    assert [node.cast_to for node in facts.nodes if node.op == "Cast"] == casts
    assert {(t.name, t.element_type, t.elements) for t in facts.tensors.values()} == {
        (t.name, names[t.data_type], int(np.prod(t.dims))) for t in graph.initializer
    }


@pytest.mark.parametrize("size", [1, 10, 1_000])
def test_the_reader_survives_any_bytes(size: int, standin_bundle: ModelBundle) -> None:
    rng = np.random.default_rng(size)
    good = standin_bundle.onnx_bytes()
    for _ in range(200):
        data = bytearray(good)
        for place in rng.integers(0, 3_000, size):
            data[place] = rng.integers(256)
        try:
            read_onnx_facts(bytes(data[: rng.integers(1, len(data))]))
        except ValueError:
            continue


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([Node("Conv", ("x", "w16"), ("y",))], {"fp16": 6}),
        ([Node("FusedConv", ("x", "w16", "b32"), ("y",))], {"fp16": 6}),  # a bias is no multiplication
        ([Node("MatMul", ("w16", "x"), ("y",))], {"fp16": 6}),
        ([Node("Cast", ("w16",), ("c",), "fp32"), Node("Conv", ("x", "c"), ("y",))], {"fp32": 6}),
        ([Node("DequantizeLinear", ("w8", "s32", "z"), ("c",)), Node("Conv", ("x", "c"), ("y",))], {"fp32": 4}),
        ([Node("QLinearConv", ("x", "s32", "z", "w8", "s32", "z"), ("y",))], {"int8": 4}),
        ([Node("MatMulInteger", ("x", "w8"), ("y",))], {"int8": 4}),
        ([Node("Transpose", ("w16",), ("t",)), Node("Gemm", ("x", "t"), ("y",))], {"fp16": 6}),
        ([Node("Mul", ("x", "w16"), ("y",)), Node("MatMul", ("x", "y"), ("z",))], {}),
    ],
)
def test_weights_are_counted_as_they_are_multiplied(nodes: list[Node], expected: dict[str, int]) -> None:
    tensors = [Tensor("w16", "fp16", 6, False), Tensor("w8", "int8", 4, False)]
    tensors += [Tensor("s32", "fp32", 1, False), Tensor("b32", "fp32", 9, False), Tensor("z", "int8", 1, False)]
    facts = OnnxFacts(tuple(nodes), {tensor.name: tensor for tensor in tensors})
    assert facts.weight_types() == Counter(expected)


def test_mixed_precision_is_said_with_shares() -> None:
    assert precision_of(Counter({"int8": 60, "uint8": 20, "fp32": 20})) == "mixed (int8 80 %, fp32 20 %)"
    assert precision_of(Counter({"fp16": 995, "fp32": 5})) == "fp16"
    assert precision_of(Counter()) == "no weights"
