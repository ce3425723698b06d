"""Facts about an ONNX file, read from its bytes without the onnx package, which a vehicle does not need.

Only what a verified precision report takes is read: nodes, initialisers and their element types.
Field numbers are those of the public onnx.proto (ModelProto.graph = 7, GraphProto.node = 1, …).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

_ELEMENT_TYPES = {
    1: "fp32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "fp16",
    11: "fp64", 16: "bf16", 17: "fp8", 18: "fp8", 19: "fp8", 20: "fp8", 21: "uint4", 22: "int4",
}  # fmt: skip
_QUANTIZED = ("int8", "uint8", "int4", "uint4")
_WEIGHTED_OPS = ("Conv", "ConvTranspose", "MatMul", "Gemm")


@dataclass(frozen=True)
class Node:
    """One node: operator, the names of its inputs and outputs ('' where left out), and what a Cast casts to."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    cast_to: str = ""


@dataclass(frozen=True)
class Tensor:
    """One stored tensor: element type such as ``fp32``, number of elements, whether the values lie in another file."""

    name: str
    element_type: str
    elements: int
    is_external: bool


@dataclass(frozen=True)
class OnnxFacts:
    """What was read of a graph."""

    nodes: tuple[Node, ...]
    tensors: dict[str, Tensor]

    @property
    def has_external_data(self) -> bool:
        """True where weights lie outside of the file, so that its hash does not cover them."""
        return any(tensor.is_external for tensor in self.tensors.values())

    def weight_types(self) -> Counter[str]:
        """Elements multiplied in convolutions and matrix products, by the type they are multiplied in.

        A weight that passes through DequantizeLinear or Cast first counts as what comes out of it.
        """
        producer = {output: node for node in self.nodes for output in node.outputs}
        counts: Counter[str] = Counter()
        for node in self.nodes:
            base = _weighted(node.op)
            if base is None:
                continue
            for name in _operands(node, base):
                if (found := self._operand(name, producer)) is not None:
                    counts[found[0]] += found[1]
        return counts

    def _operand(self, name: str, producer: dict[str, Node]) -> tuple[str, int] | None:
        if name in self.tensors:
            return self.tensors[name].element_type, self.tensors[name].elements
        node = producer.get(name)
        if node is None or node.op not in ("DequantizeLinear", "Cast", "Transpose", "Reshape", "Identity"):
            return None
        inner = self._operand(node.inputs[0], producer)
        if inner is None:
            return None
        if node.op == "DequantizeLinear":
            return self._scale_type(node), inner[1]
        return node.cast_to or inner[0], inner[1]

    def _scale_type(self, node: Node) -> str:
        scale = self.tensors.get(node.inputs[1])
        return scale.element_type if scale is not None else "fp32"


def _weighted(op: str) -> str | None:
    """Return the plain operator behind an optimised one (FusedConv, QLinearConv, ConvInteger, …), or None."""
    return next((base for base in _WEIGHTED_OPS if base in op), None)


def _operands(node: Node, base: str) -> tuple[str, ...]:
    if node.op.startswith("QLinear") or node.op == "QGemm":
        return node.inputs[3:4]
    return node.inputs[:2] if base in ("MatMul", "Gemm") else node.inputs[1:2]


def precision_of(weight_types: Counter[str]) -> str:
    """``fp32``, ``fp16``, ``int8`` … where 99 % of the weights agree, else ``mixed (…)`` with shares."""
    total = sum(weight_types.values())
    if total == 0:
        return "no weights"
    merged: Counter[str] = Counter()
    for name, count in weight_types.items():
        merged["int8" if name in ("int8", "uint8") else name] += count
    name, count = merged.most_common(1)[0]
    if count >= 0.99 * total:
        return name
    return f"mixed ({', '.join(f'{name} {100 * count / total:.0f} %' for name, count in merged.most_common())})"


def is_quantized(facts: OnnxFacts) -> bool:
    """Return whether weights are stored as 8-bit or smaller numbers, to be dequantised or multiplied as such."""
    producer_inputs = {name for node in facts.nodes if node.op == "DequantizeLinear" for name in node.inputs[:1]}
    stored = {name for name in producer_inputs if name in facts.tensors}
    integer = set(facts.weight_types()) & set(_QUANTIZED)
    return bool(integer) or any(facts.tensors[name].element_type in _QUANTIZED for name in stored)


def read_onnx_facts(data: bytes) -> OnnxFacts:
    """Read nodes and stored tensors of a serialised ModelProto; ValueError where it is none."""
    view = memoryview(data)
    nodes: list[Node] = []
    tensors: dict[str, Tensor] = {}
    found_graph = False
    for number, value in _fields(view):
        if number == 7 and isinstance(value, memoryview):
            found_graph = True
            _read_graph(value, nodes, tensors)
    if not found_graph:
        raise ValueError("the file holds no ONNX graph")
    return OnnxFacts(tuple(nodes), tensors)


def _read_graph(graph: memoryview, nodes: list[Node], tensors: dict[str, Tensor]) -> None:
    for number, value in _fields(graph):
        if not isinstance(value, memoryview):
            continue
        if number == 1:
            node, constant = _read_node(value)
            nodes.append(node)
            if constant is not None and node.outputs:
                tensors[node.outputs[0]] = constant
        elif number == 5:
            tensor = _read_tensor(value)
            tensors[tensor.name] = tensor


def _read_node(data: memoryview) -> tuple[Node, Tensor | None]:
    inputs: list[str] = []
    outputs: list[str] = []
    op = cast_to = ""
    constant = None
    for number, value in _fields(data):
        if not isinstance(value, memoryview):
            continue
        if number == 1:
            inputs.append(str(value, "utf-8"))
        elif number == 2:
            outputs.append(str(value, "utf-8"))
        elif number == 4:
            op = str(value, "utf-8")
        elif number == 5:
            name, integer, tensor = _read_attribute(value)
            constant = tensor or constant
            cast_to = _element_type(integer) if name == "to" else cast_to
    node = Node(op, tuple(inputs), tuple(outputs), cast_to if op == "Cast" else "")
    return node, constant if op == "Constant" else None


def _read_attribute(data: memoryview) -> tuple[str, int, Tensor | None]:
    name, integer, tensor = "", 0, None
    for number, value in _fields(data):
        if number == 1 and isinstance(value, memoryview):
            name = str(value, "utf-8")
        elif number == 3 and isinstance(value, int):
            integer = value
        elif number == 5 and isinstance(value, memoryview):
            tensor = _read_tensor(value)
    return name, integer, tensor


def _element_type(number: int) -> str:
    return _ELEMENT_TYPES.get(number, f"type {number}")


def _read_tensor(data: memoryview) -> Tensor:
    elements, kind, name, external = 1, 0, "", False
    for number, value in _fields(data):
        if number == 1:
            for size in [value] if isinstance(value, int) else _packed(value):
                elements *= size
        elif number == 2 and isinstance(value, int):
            kind = value
        elif number == 8 and isinstance(value, memoryview):
            name = str(value, "utf-8")
        elif number == 14:
            external = value == 1
    return Tensor(name, _element_type(kind), elements, external)


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, value) of one protobuf message: integers as int, everything with a length as bytes."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        wire = key & 7
        if wire == 0:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        if wire == 2:
            length, position = _varint(data, position)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError("the file is no ONNX model (broken protobuf)")
        if position + length > len(data):
            raise ValueError("the ONNX file ends in the middle; it is truncated")
        yield key >> 3, data[position : position + length]
        position += length


def _packed(data: memoryview) -> Iterator[int]:
    position = 0
    while position < len(data):
        value, position = _varint(data, position)
        yield value


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    result = shift = 0
    while position < len(data) and shift < 70:
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7
    raise ValueError("the file is no ONNX model (broken protobuf)")
