"""The command line answers at once and never with a traceback."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from videocups.cli import COMMANDS, main


def test_help_is_quick_and_imports_nothing_heavy():
    code = (
        "import sys; from videocups.cli import main; status = main(['--help']);"
        "heavy = {'torch', 'cv2', 'numpy', 'rosbags', 'rich'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        seconds.append(time.perf_counter() - begin)
        assert done.returncode == 0, done.stderr
    assert min(seconds) < 0.5
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", ["ingest", "bag"])
def test_help_of_a_command(command, capsys):
    with pytest.raises(SystemExit) as leaving:
        main([command, "--help"])
    assert leaving.value.code == 0
    assert "Exit status" in capsys.readouterr().out


def test_settings_and_stages_of_labels_need_no_torch():
    code = (
        "import sys\nfrom videocups.pipeline.label_config import LabelConfig\n"
        "LabelConfig().stages()\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_of_ingest_needs_no_torch():
    code = (
        "import sys; from videocups.cli import main\n"
        "try: main(['ingest', '--help'])\nfinally: assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_wrong_usage(capsys):
    assert main([]) == 2
    assert main(["nonsense"]) == 2
    assert "no command 'nonsense'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as leaving:
        main(["ingest", "--nonsense"])
    assert leaving.value.code == 2
    assert main(["--version"]) == 0


def test_every_command_is_there():
    from importlib import import_module

    for place, text in COMMANDS.values():
        module, function = place.split(":")
        assert callable(getattr(import_module(module), function))
        assert text


def test_a_missing_extra_is_one_sentence_with_the_pip_command(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "numba", None)  # as in an installation without the extra
    monkeypatch.setitem(COMMANDS, "needy", ("tests.training.test_cli:needy", ""))
    assert main(["needy"]) == 1
    message = capsys.readouterr().err
    assert message == (
        "videocups needy: needs the Python package 'numba', which is not installed here; "
        "call .venv-training/bin/videocups of ./setup.sh, or bring it with pip install './training[train]'\n"
    )


def test_a_reader_that_has_enough_is_no_error():
    command = f"{sys.executable} -m videocups.cli weights list | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert done.returncode in (0, 141)  # 0 where all was written before the reader left


def fail(argv):
    """Stand for a command that meets what only the system speaks of."""
    if argv[0] == "memory":
        raise MemoryError("Unable to allocate 74.5 GiB")
    Path(argv[0]).read_text()


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("nowhere.yaml", "nowhere.yaml does not exist; check the path"),
        (".", ". is a folder; give a file"),
        ("file/below", "file/below is a file where a folder is needed; give another path"),
        ("memory", "the memory did not suffice (Unable to allocate 74.5 GiB); take less at once"),
    ],
)
def test_what_the_system_says_becomes_a_sentence_with_a_remedy(tmp_path, monkeypatch, capsys, place, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setitem(COMMANDS, "failing", ("tests.training.test_cli:fail", ""))
    assert main(["failing", place]) == 1
    assert capsys.readouterr().err == f"videocups failing: {sentence}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["render", "--out", "big", "--size", "100000x100000"], "at most 16,777,216 pixels, got 100000×100000; give"),
        (["bag", "render", "--out", "big", "--size", "100000x100000"], "at most 16,777,216 pixels"),
        (["run", "bag", "--out", "out", "--config", "list.yaml"], "list.yaml must be a mapping of settings"),
        (["run", "bag", "--out", "out", "--config", "broken.yaml"], "broken.yaml is no YAML: "),
        (["run", "bag", "--out", "out", "--config", "binary.yaml"], "binary.yaml is no YAML: "),
    ],
)
def test_wrong_input_is_a_sentence(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    Path("list.yaml").write_text("- a\n")
    Path("broken.yaml").write_text("flow: [\n")
    Path("binary.yaml").write_bytes(b"\xff\xfe")
    assert main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["binary.yaml", "broken.yaml", "list.yaml"]


def needy(argv):
    """Stand for a command whose heavy import fails."""
    import numba

    return len(numba.__version__)
