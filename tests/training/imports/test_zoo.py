"""training/zoo.yaml says what is true, and bad tables are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from videocups.cli import COMMANDS, main
from videocups.semantics.weights import REGISTRY, file_sha256
from videocups.zoo import PUBLISHED, read_zoo, zoo_path

ROOT = Path(__file__).parents[3]
ENTRY = "{name: a, what: b, kind: panoptic, from: recipe, how: c, license: d, human_labels: false}"


def test_the_zoo_agrees_with_what_can_be_fetched():
    fetched = {entry.name: entry for entry in read_zoo() if entry.origin == "fetch"}
    assert fetched.keys() == REGISTRY.keys()
    for name, entry in fetched.items():
        found = (entry.url, entry.license, entry.sha256)
        assert found == (REGISTRY[name].url, REGISTRY[name].license, REGISTRY[name].sha256)


def test_shipped_files_are_there_and_whole():
    for entry in read_zoo():
        if entry.origin == "file":
            assert file_sha256(zoo_path().parent / entry.path) == entry.sha256, entry.name


def test_figures_of_our_own_are_printed_by_a_benchmark():
    for entry in read_zoo():
        for figure in entry.figures:
            if figure.source != PUBLISHED:
                table = (ROOT / "benchmarks/results" / figure.source).read_text()
                assert figure.value in table, f"{entry.name}: {figure.value} is not in {figure.source}"


def test_recipes_are_commands_that_exist():
    for entry in read_zoo():
        if entry.origin == "recipe":
            words = entry.how.split()
            assert words[0] == "videocups"
            assert words[1] in COMMANDS, entry.how
            for word in words:
                assert not word.endswith(".yaml") or (ROOT / word).is_file(), entry.how


def test_no_human_labels_by_default():
    assert not [entry.name for entry in read_zoo() if entry.human_labels and entry.origin == "fetch"]


def test_the_command_lists_all(capsys, tmp_path):
    assert main(["weights", "--folder", str(tmp_path), "list"]) == 0
    listed = capsys.readouterr().out
    for entry in read_zoo():
        assert entry.name in listed
        assert entry.url is None or entry.url in listed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weights: [", "is no YAML"),
        ("schema_version: 2\nweights: []", "needs schema_version: 1"),
        ("schema_version: 1", "needs a list 'weights'"),
        ("schema_version: 1\nweights: [text]", "must be a table of settings, got str"),
        (f"schema_version: 1\nweights: [{ENTRY}, {ENTRY}]", "lists a more than once"),
        (f"schema_version: 1\nweights: [{ENTRY.replace('license: d, ', '')}]", "'a' has no license"),
        (f"schema_version: 1\nweights: [{ENTRY.replace('recipe', 'import')}]", "needs a url"),
        (f"schema_version: 1\nweights: [{ENTRY.replace('recipe', 'file')}]", "needs a path and a sha256"),
        (f"schema_version: 1\nweights: [{ENTRY.replace('what', 'waht')}]", "waht"),
    ],
)
def test_bad_tables_are_refused(tmp_path, text, message):
    path = tmp_path / "zoo.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_zoo(path)
