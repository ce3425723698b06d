"""A network at fixed addresses on a GPU: one frame is a copy there, the network, and copies back, without a malloc."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videocups_core.engine.base import INPUT_NAME, EngineError, TensorSpec
from videocups_core.engine.cuda import Buffer, Cuda


class GpuRun:
    """Runs what ``queue`` puts on the stream of ``cuda``, between the copies of its input and outputs.

    The image goes up as uint8, a quarter of what normalised floats would be: the graph normalises.
    """

    def __init__(self, cuda: Cuda, image: TensorSpec, outputs: Sequence[TensorSpec]) -> None:
        self.cuda = cuda
        self.image = _buffer(cuda, image)
        self.outputs: Mapping[str, Buffer] = {tensor.name: _buffer(cuda, tensor) for tensor in outputs}
        self.queue: Callable[[], None] = _nothing
        self._graph: int | None = None

    def __del__(self) -> None:
        self.queue = _nothing  # with it goes the session or context, which must end before its stream and its memory

    def __call__(self, image: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Return the outputs for one image, by name."""
        self.cuda.use()
        self.image.host[...] = image
        if self._graph is None:
            self._queue_all()
        else:
            self.cuda.launch(self._graph)
        self.cuda.synchronize()
        # Copies: with two frames in hand the next one is written while this one is still read.
        return {name: buffer.host.copy() for name, buffer in self.outputs.items()}

    def capture(self) -> None:
        """Make the whole frame one CUDA graph; EngineError where something in it cannot be captured."""
        # The first run does what happens once, and what happens once must not become a part of every frame.
        self(np.zeros(self.image.host.shape, dtype=np.uint8))
        self._graph = self.cuda.capture(self._queue_all)

    def _queue_all(self) -> None:
        self.cuda.to_device(self.image)
        self.queue()
        for buffer in self.outputs.values():
            self.cuda.to_host(buffer)


def session_run(session: Any, cuda: Cuda, image: TensorSpec, outputs: Sequence[TensorSpec]) -> GpuRun:
    """Return a run of an ONNX Runtime session that was created on the stream of ``cuda``."""
    run = GpuRun(cuda, image, outputs)
    binding = session.io_binding()
    kind, shape = np.dtype(image.dtype).type, _sizes(image)
    binding.bind_input(INPUT_NAME, "cuda", cuda.index, kind, shape, run.image.device_pointer)
    for tensor in outputs:
        kind, shape, pointer = np.dtype(tensor.dtype).type, _sizes(tensor), run.outputs[tensor.name].device_pointer
        binding.bind_output(tensor.name, "cuda", cuda.index, kind, shape, pointer)
    run.queue = lambda: session.run_with_iobinding(binding)
    return run


def context_run(context: Any, cuda: Cuda, image: TensorSpec, outputs: Sequence[TensorSpec]) -> GpuRun:
    """Return a run of a TensorRT execution context."""
    run = GpuRun(cuda, image, outputs)
    for name, buffer in {image.name: run.image, **run.outputs}.items():
        if not context.set_tensor_address(name, buffer.device_pointer):
            raise EngineError(f"TensorRT did not take the address of '{name}'; see its log")

    def queue() -> None:
        if not context.execute_async_v3(cuda.stream):
            raise EngineError("TensorRT could not run the engine; see its log")

    run.queue = queue
    return run


def _buffer(cuda: Cuda, tensor: TensorSpec) -> Buffer:
    return cuda.buffer(_sizes(tensor), tensor.dtype)


def _sizes(tensor: TensorSpec) -> tuple[int, ...]:
    return tuple(size for size in tensor.shape if isinstance(size, int))  # the contract lets no other pass


def _nothing() -> None:
    raise RuntimeError("a GpuRun runs nothing before its queue is set; make it by session_run or context_run")
