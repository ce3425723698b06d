"""Files of other programs: what they hold is read, what they ask to run is not."""

from __future__ import annotations

import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from videocups.model.imports.reading import read_foreign


class Bomb:
    """A pickle of this would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def foreign_settings(monkeypatch):
    """Make an object of a package that will not be there when the file is read (as yacs' settings are)."""
    package = types.ModuleType("someones")
    package.Settings = type("Settings", (dict,), {"__module__": "someones", "__qualname__": "Settings"})
    monkeypatch.setitem(sys.modules, "someones", package)
    made = package.Settings(rate=1, nested=package.Settings(names=["a", "b"]))
    made.frozen = True
    yield made
    assert "someones" not in sys.modules


def forget(monkeypatch):
    monkeypatch.delitem(sys.modules, "someones")


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_zoo_pickle_of_arrays(tmp_path, protocol):
    path = tmp_path / "model.pkl"
    table = {
        "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "counter": np.array(3),
        "half": np.ones(2, np.float16),
    }
    content = {"model": table, "__author__": "MOCO", "matching_heuristics": True, "n": np.float32(2)}
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    found = read_foreign(path)
    assert found.author == "MOCO"
    assert found.tensors.keys() == table.keys()
    for name, value in table.items():
        np.testing.assert_array_equal(found.tensors[name].numpy(), value)


def test_an_archive_of_tensors_with_views_parameters_and_other_types(tmp_path):
    path = tmp_path / "model.pth"
    base = torch.arange(12, dtype=torch.float32)
    table = OrderedDict(
        whole=base,
        part=base[2:8].view(2, 3).t(),
        learned=torch.nn.Parameter(torch.ones(2)),
        short=torch.tensor([1.5, -2], dtype=torch.bfloat16),
        flags=torch.tensor([True, False]),
        counter=torch.tensor(5),
        nothing=torch.empty(0),
    )
    torch.save({"model": table, "iteration": 7, "optimizer": {"state": {0: {"step": 1}}}}, path)
    found = read_foreign(path).tensors
    assert found.keys() == table.keys()
    for name, value in table.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value.detach()), name


def test_lightnings_settings_become_inert(tmp_path, foreign_settings, monkeypatch):
    path = tmp_path / "run.ckpt"
    table = {"model.backbone.x": torch.ones(3), "teacher_model.backbone.x": torch.zeros(3)}
    extra = {
        "config": foreign_settings,
        "thing_pseudo_classes": (1, 2),
        "where": torch.device("cpu"),
        "dtype": torch.float32,
    }
    torch.save({"state_dict": table, "hyper_parameters": extra, "callbacks": {"best": np.float64(2)}}, path)
    forget(monkeypatch)
    assert read_foreign(path).tensors.keys() == table.keys()


@pytest.mark.parametrize("kind", ["pkl", "pth"])
def test_code_in_a_file_is_not_run(tmp_path, kind):
    path, target = tmp_path / f"model.{kind}", tmp_path / "made"
    if kind == "pkl":
        path.write_bytes(pickle.dumps({"model": {"a": np.ones(2)}, "evil": Bomb(target)}))
    else:
        torch.save({"model": {"a": torch.ones(2)}, "evil": Bomb(target)}, path)
    assert read_foreign(path).tensors["a"].tolist() == [1, 1]
    assert not target.exists()
    pickle.loads(pickle.dumps(Bomb(target)))
    assert target.exists()


def test_code_in_torchs_old_format_is_not_run(tmp_path):
    good, evil, target = tmp_path / "old.pth", tmp_path / "evil.pth", tmp_path / "made"
    torch.save({"model": {"a": torch.ones(2)}}, good, _use_new_zipfile_serialization=False)
    assert read_foreign(good).tensors["a"].tolist() == [1, 1]
    torch.save({"model": {}, "evil": Bomb(target)}, evil, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match="no checkpoint that can be read"):
        read_foreign(evil)
    assert not target.exists()


def test_a_view_beyond_its_storage_is_refused(tmp_path):
    good, bad = tmp_path / "good.pth", tmp_path / "bad.pth"
    torch.save({"model": {"a": torch.ones(4)}}, good)
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name)[:8] if name.endswith("/data/0") else source.read(name))
    with pytest.raises(ValueError, match="no checkpoint that can be read"):
        read_foreign(bad)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cut.pkl", pickle.dumps({"model": {"a": np.ones(100)}})[:-40], "no checkpoint that can be read"),
        ("text.pkl", b"hello", "no checkpoint that can be read"),
        ("list.pkl", pickle.dumps([1, 2]), "holds no table of weights but list"),
        ("empty.pkl", pickle.dumps({"model": {}}), "holds no named tensors"),
        ("empty.pth", b"", "no checkpoint that can be read"),
        ("zip.pth", b"PK\x03\x04broken", "no checkpoint that can be read"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_foreign(tmp_path / name)


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_foreign(tmp_path / "none.pkl")
