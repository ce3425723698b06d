"""Read weights that other programs wrote, without running anything that the file asks for.

detectron2's ``.pkl`` is a plain pickle of NumPy arrays; ``.pth`` and Lightning's ``.ckpt`` are zip archives of torch.
Both are pickles, and a pickle may name any function to call. Here only arrays, tensors and plain containers come to
life; whatever else a file names (the settings of the program that wrote it, say) becomes an empty stand-in.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

ZIP = b"PK\x03\x04"
DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


@dataclass(frozen=True)
class ForeignWeights:
    """Named tensors of a file, and who its header says wrote it."""

    tensors: dict[str, Tensor]
    author: str = ""


class Inert(dict[Any, Any]):
    """What stands for everything a file names and we do not know: takes anything, does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __setstate__(self, state: Any) -> None:
        """Forget the state."""

    def append(self, item: Any) -> None:
        """Forget an item."""

    def extend(self, items: Any) -> None:
        """Forget items."""


class ArrayUnpickler(pickle.Unpickler):
    """Makes NumPy arrays and plain containers, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a file may call by this name."""
        package = module.replace("numpy._core", "numpy.core")
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
            ("numpy.core.multiarray", "scalar"): np.float64(0).__reduce__()[0],
            ("_codecs", "encode"): _encode,
        }
        return known.get((package, name), Inert)


class TensorUnpickler(ArrayUnpickler):
    """Makes tensors of a torch archive as well."""

    def __init__(self, file: io.BytesIO, archive: zipfile.ZipFile, prefix: str) -> None:
        super().__init__(file, encoding="utf-8")
        self._archive, self._prefix = archive, prefix

    def find_class(self, module: str, name: str) -> Any:
        """Return what a file may call by this name."""
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if (module, name) in {("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor")}:
            return _view
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _parameter
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Any:
        """Return the flat tensor that a tensor of the file is a view of."""
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            return Inert()
        content = bytearray(self._archive.read(f"{self._prefix}/data/{key}"))
        return torch.frombuffer(content, dtype=dtype, count=count) if count else torch.empty(0, dtype=dtype)


def read_foreign(path: Path) -> ForeignWeights:
    """Read all named tensors of a detectron2 ``.pkl`` or ``.pth`` or a Lightning ``.ckpt``."""
    try:
        content = _load(path)
    except OSError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} is no checkpoint that can be read ({reason}); download it again") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds no table of weights but {type(content).__name__}; give another file")
    author = str(content.get("__author__", ""))
    table: Any = content
    for name in ("state_dict", "model"):
        if isinstance(content.get(name), Mapping):
            table = content[name]
            break
    tensors = {str(name): found for name, value in table.items() if (found := _tensor(value)) is not None}
    if not tensors:
        raise ValueError(f"{path} holds no named tensors; give a checkpoint of detectron2, CutLER, U2Seg or CUPS")
    return ForeignWeights(tensors, author)


def _load(path: Path) -> Any:
    with path.open("rb") as file:
        start = file.read(len(ZIP))
        file.seek(0)
        if start == ZIP:
            return _load_archive(file)
        if path.suffix == ".pkl":
            return ArrayUnpickler(file, encoding="latin1").load()
    try:
        return torch.load(path, map_location="cpu", weights_only=True)  # torch's format of before 1.6
    except pickle.UnpicklingError as error:  # its own words are long, and advise to run whatever the file says
        raise ValueError("it is neither an archive nor a table of tensors") from error


def _load_archive(file: Any) -> Any:
    with zipfile.ZipFile(file) as archive:
        tables = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(tables) != 1:
            raise ValueError("it is no archive of torch")
        prefix = tables[0].removesuffix("/data.pkl")
        order = f"{prefix}/byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise ValueError("its numbers are big-endian; save it anew on a little-endian machine")
        return TensorUnpickler(io.BytesIO(archive.read(tables[0])), archive, prefix).load()


def _tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return torch.from_numpy(np.array(value))
    return None


def _view(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor | Inert:
    return torch.as_strided(storage, size, stride, offset) if isinstance(storage, Tensor) else Inert()


def _parameter(tensor: Tensor, *_: Any) -> Tensor:
    return tensor


def _encode(text: str, encoding: str) -> bytes:
    """Return bytes, as old pickles spell them; the codecs that NumPy uses are harmless, others are refused."""
    if encoding != "latin1":
        raise ValueError(f"it asks for the codec {encoding!r}")
    return text.encode(encoding)
