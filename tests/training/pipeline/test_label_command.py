"""The commands from clips to panoptic labels, on a rendered street."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from tests.training.pipeline.artefacts import artefacts

from videocups.cli import main
from videocups.pipeline.coco_panoptic import write_coco
from videocups.pipeline.commands import label_parser
from videocups.pipeline.formats import decode
from videocups.pipeline.label_config import LabelConfig, label_config, read_label_config
from videocups.pipeline.learned_cues import LearnedConfig
from videocups.pipeline.run import RunConfig
from videocups.synthetic import World, WorldConfig
from videocups.synthetic.storage import write_clip
from videocups_core.clip import read_clip_info, read_rgb, write_clip_info
from videocups_core.config import ConfigError
from videocups_core.panoptic.storage import PanopticClip

ROOT = Path(__file__).parents[3]
FRAMES = 21
SETTINGS = """
preset: fast
instances: {cleaning: {min_area_px: 20}}
semantics:
  kmeans: {classes: 6, steps: 20, restarts: 1}
  inference: {crf: false}
"""


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A standing camera's clip, with a box that drives by; frame 10 cannot be decoded."""
    folder = tmp_path_factory.mktemp("street")
    (folder / "label.yaml").write_text(SETTINGS)
    world = World(WorldConfig(seed=8, num_frames=FRAMES, height=64, width=128, scenario="stand"))
    clip = write_clip(world, folder / "clips" / "a")
    box = np.random.default_rng(0).integers(0, 255, (18, 30, 3), np.uint8)
    box = cv2.GaussianBlur(box, (0, 0), 1.0) // 2 + np.array([0, 0, 120], np.uint8)
    for number in range(FRAMES):
        path = str(clip / "frames" / f"{number:06d}.jpg")
        image = cv2.imread(path)
        image[34:52, 10 + 3 * number : 40 + 3 * number] = box
        cv2.imwrite(path, image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    (clip / "frames" / "000010.jpg").write_bytes(b"damaged on the way")
    return folder


@pytest.fixture(scope="module")
def labelled(street: Path) -> Path:
    """The same, labelled beside the recording. Two pairs of 20 fail, which is more than the default bears."""
    config = street / "bearing.yaml"
    config.write_text(SETTINGS + "run: {max_failed_share: 0.1}\n")
    arguments = ["--config", str(config), "--executor", "inline", "--out", str(street / "labels")]
    assert main(["label", str(street / "clips"), *arguments]) == 0
    return street / "labels"


def test_labels_are_a_panoptic_clip_with_every_frame(labelled: Path) -> None:
    labels = PanopticClip(labelled / "a")
    assert labels.complete
    assert labels.stamps_ns == read_clip_info(labelled / "a").stamps_ns
    assert [info.class_id for info in labels.classes] == list(range(len(labels.classes)))
    for frame in labels:
        assert frame.segment_ids.shape == (64, 128)
        assert frame.segment_ids.all()  # no void: what is not known is ignored


def test_labels_are_told_to_coco_tools(labelled: Path, tmp_path: Path) -> None:
    labels = PanopticClip(labelled / "a")
    assert write_coco(labelled, [labelled / "a"], tmp_path) == FRAMES
    content = json.loads((tmp_path / "panoptic.json").read_text())
    assert {row["id"]: row["isthing"] for row in content["categories"]} == {
        info.class_id: int(info.is_thing) for info in labels.classes
    }
    told = 0
    for number, (image, annotation) in enumerate(zip(content["images"], content["annotations"], strict=True)):
        assert image["file_name"] == f"a/frames/{number:06d}.jpg"
        assert (image["id"], image["width"], image["height"]) == (annotation["image_id"], 128, 64)
        red, green, blue = np.moveaxis(read_rgb(tmp_path / "panoptic" / annotation["file_name"]).astype(int), 2, 0)
        ids, frame = red + 256 * green + 256 * 256 * blue, labels.frame(number)
        assert set(np.unique(ids)) - {0} == {row["id"] for row in annotation["segments_info"]}
        for row in annotation["segments_info"]:
            rows, columns = np.nonzero(ids == row["id"])
            assert row["area"] == rows.size
            assert row["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        np.testing.assert_array_equal(ids[ids > 0], frame.segment_ids[ids > 0])
        left_out = [segment for segment in frame.segments if segment.ignore and not segment.is_thing]
        np.testing.assert_array_equal(ids == 0, np.isin(frame.segment_ids, [one.segment_id for one in left_out]))
        told += bool((ids > 0).all())
    assert 0 < told < FRAMES  # frame 10 is ignored as a whole


def test_an_unreadable_frame_is_ignored_as_a_whole_and_listed(labelled: Path) -> None:
    left_out = json.loads((labelled / "a" / "left_out.json").read_text())
    assert left_out == {"without_classes": [10], "without_tracks": [10]}
    labels = PanopticClip(labelled / "a")
    assert all(segment.ignore for segment in labels.segments(10))
    assert not all(segment.ignore for segment in labels.segments(9))
    assert not (labelled / "a" / "semantics" / "000010.png").exists()


def test_stuff_is_what_is_left_of_the_pixel_classes_and_things_follow(labelled: Path) -> None:
    split = json.loads((labelled / "data_set" / "thing_stuff.json").read_text())
    ratios = [row["ratio"] for row in split["classes"]]
    assert ratios == sorted(ratios, reverse=True)
    assert all(row["is_thing"] == (row["ratio"] > split["threshold"]) for row in split["classes"])
    count = split["panoptic_classes"]
    assert count["stuff"] + sum(row["is_thing"] for row in split["classes"]) == 6
    for row in split["classes"]:
        assert (row["panoptic_class"] >= count["stuff"]) == row["is_thing"]
    flags = [info.is_thing for info in PanopticClip(labelled / "a").classes]
    assert flags == [False] * count["stuff"] + [True] * count["things"]


def test_every_track_is_a_thing_or_ignored(labelled: Path) -> None:
    seen = 0
    for number, frame in enumerate(PanopticClip(labelled / "a")):
        path = labelled / "a" / "tracks" / f"{number:06d}.png"
        tracks = decode(path) if path.exists() else np.zeros((64, 128), np.int32)
        things = {segment.track_id for segment in frame.segments if segment.track_id}
        ignored = np.isin(frame.segment_ids, [row.segment_id for row in frame.segments if row.ignore])
        for track in np.unique(tracks[tracks > 0]).tolist():
            assert (track in things) != bool(ignored[tracks == track].all())
            seen += 1
    assert seen > 0


def test_a_stage_that_is_named_leaves_overlays(
    street: Path, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config", str(street / "bearing.yaml"), "--executor", "inline", "--out", str(labelled)]
    wanted = ["--stage", "tracks", "--stage", "smooth", "--stage", "panoptic"]
    assert main(["label", str(street / "clips"), *arguments, *wanted]) == 0
    told = "overlays: overlays/tracks, overlays/semantics_smooth, overlays/panoptic in every clip"
    assert told in capsys.readouterr().out
    assert (labelled / "a" / "overlays" / "semantics_smooth" / "000000.jpg").is_file()
    pictures = sorted((labelled / "a" / "overlays" / "panoptic").iterdir())
    assert len(pictures) == FRAMES - 1  # what cannot be read cannot be drawn on
    assert cv2.imread(str(pictures[0])).shape == (64, 128, 3)
    drawn = {path.stem for path in (labelled / "a" / "overlays" / "tracks").iterdir()}
    assert drawn == {path.stem for path in (labelled / "a" / "tracks").iterdir()}
    times = [path.stat().st_mtime_ns for path in pictures]
    assert main(["label", str(street / "clips"), *arguments, *wanted]) == 0
    assert [path.stat().st_mtime_ns for path in pictures] == times
    shutil.rmtree(labelled / "a" / "overlays")


def test_classes_may_come_from_pixels_as_in_the_paper(street: Path, labelled: Path) -> None:
    config = street / "pixels.yaml"
    config.write_text((street / "bearing.yaml").read_text() + "things: {classes_from: pixels}\n")
    out = street / "pixels"
    arguments = ["--config", str(config), "--executor", "inline", "--out", str(out)]
    assert main(["label", str(street / "clips"), *arguments]) == 0
    things = {info.class_id for info in PanopticClip(out / "a").classes if info.is_thing}
    split = json.loads((out / "data_set" / "thing_stuff.json").read_text())
    assert things == {row["class_id"] for row in split["classes"] if row["ratio"] > split["threshold"]}
    class_of = json.loads((out / "a" / "class_counts.json").read_text())["class_of_track"]
    rows = [row for frame in PanopticClip(out / "a") for row in frame.segments if row.track_id]
    assert rows
    assert all(class_of[str(row.track_id)] == row.class_id for row in rows)


def test_labels_can_be_evaluated(street: Path, labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--prediction", str(labelled), "--truth", str(street / "clips"), "--dataset", "rendered"]
    assert main(["evaluate", *arguments, "--workers", "1"]) == 0
    text = capsys.readouterr().out
    stq = re.search(r"STQ (\d+\.\d)", text)
    assert stq is not None
    assert "road" in text


def test_five_percent_stop_the_command_with_a_sentence(
    street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config", str(street / "label.yaml"), "--executor", "inline", "--out", str(tmp_path)]
    assert main(["label", str(street / "clips"), *arguments]) == 1
    error = capsys.readouterr().err
    assert "failed on 2 of 20 items, more than 5%" in error
    assert "cannot read image" in error


def test_status_tells_counts_reasons_and_disk_use(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(labelled)]) == 0
    text = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines()[1:] if line[0].islower()}
    assert rows["flow"][:4] == ["20", "18", "0", "2"]
    assert rows["semantics"][:4] == ["21", "20", "1", "0"]
    assert re.search(r"failed +survey: a 000009: FileNotFoundError: cannot read image", text)
    stored = sum(path.stat().st_size for path in (labelled / "a" / "flow").iterdir())
    stored += sum(path.stat().st_size for path in (labelled / "a" / "ego").iterdir())
    assert float(rows["flow"][5]) == pytest.approx(stored / 1e6, abs=0.06)


def test_clean_keeps_frames_and_final_labels(
    labelled: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = artefacts(labelled)
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: PTH123, SIM115 - nobody who could answer
    assert main(["clean", str(labelled)]) == 1
    assert "give --yes" in capsys.readouterr().err
    assert artefacts(labelled) == before
    assert main(["clean", str(labelled), "--yes"]) == 0
    kinds = {Path(name).parts[1] if name.startswith("a/") else name for name in artefacts(labelled)}
    final = {"panoptic", "tracks", "track_table.json", "left_out.json"}
    assert kinds == {*final, "data_set/clusters.npz", "data_set/thing_stuff.json", "data_set/things.npz"}
    assert len(list((labelled / "a" / "frames").iterdir())) == FRAMES
    config = str(labelled.parent / "bearing.yaml")
    assert main(["label", str(labelled), "--config", config, "--executor", "inline"]) == 0
    assert "0 items made" in capsys.readouterr().out
    changed = labelled.parent / "changed.yaml"
    changed.write_text(Path(config).read_text() + "tracking: {min_iou: 0.6}\n")
    assert main(["label", str(labelled), "--config", str(changed), "--executor", "inline", "--stage", "tracks"]) == 0
    assert main(["label", str(labelled), "--config", config, "--executor", "inline"]) == 0
    shutil.rmtree(labelled / "a" / "overlays")  # of the stage that was named
    assert {name: value for name, value in artefacts(labelled).items() if name in before} == {
        name: before[name] for name in artefacts(labelled)
    }


def test_clips_without_intrinsics_are_refused(street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    info = read_clip_info(street / "clips" / "a")
    write_clip_info(tmp_path / "b", replace(info, camera=None))
    assert main(["label", str(tmp_path)]) == 1
    assert (
        "has no camera intrinsics; cut it again with 'videocups ingest … --calibration FILE --overwrite'"
        in capsys.readouterr().err
    )


def test_labels_that_are_not_there_are_not_spoken_of(
    street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing can be said of a clip of one frame: no neighbour in time shows what moves."""
    clip = tmp_path / "clips" / "one"
    (clip / "frames").mkdir(parents=True)
    shutil.copy(street / "clips" / "a" / "frames" / "000000.jpg", clip / "frames")
    info = read_clip_info(street / "clips" / "a")
    write_clip_info(clip, replace(info, stamps_ns=info.stamps_ns[:1], ego_speed_mps=info.ego_speed_mps[:1]))
    command = ["label", str(tmp_path / "clips"), "--config", str(street / "label.yaml"), "--executor", "inline"]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "labels: tracks in 0 of 1 clip, panoptic in 0 of 1 clip\n" in told
    assert f"clips without labels: 'videocups status {tmp_path / 'clips'}' tells why" in told


def test_the_closing_lines_say_that_nothing_moves(
    street: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A camera that stands before a world that stands: labels of stuff, and nothing to learn objects from."""
    info, clip = read_clip_info(street / "clips" / "a"), tmp_path / "clips" / "still"
    (clip / "frames").mkdir(parents=True)
    for number in range(3):
        shutil.copy(street / "clips" / "a" / "frames" / "000000.jpg", clip / "frames" / f"{number:06d}.jpg")
    write_clip_info(clip, replace(info, stamps_ns=info.stamps_ns[:3], ego_speed_mps=info.ego_speed_mps[:3]))
    command = ["--config", str(street / "label.yaml"), "--executor", "inline"]
    assert main(["label", str(tmp_path / "clips"), *command]) == 0
    assert "classes: 6 of stuff, 0 of things: nothing was found to move" in capsys.readouterr().out
    assert main(["label", str(labelled), "--config", str(street / "bearing.yaml"), "--executor", "inline"]) == 0
    assert re.search(r"classes: \d of stuff, [1-9] of things\n", capsys.readouterr().out)


def test_settings_are_checked_and_presets_overridden() -> None:
    fast = label_config({"preset": "fast", "cues": {"compensate": False}}, "test")
    assert fast.cues.flow.upscale == 1.0
    assert not fast.cues.compensate
    assert label_config({}, "test") == LabelConfig()
    with pytest.raises(ConfigError, match="did you mean 'tracking'"):
        label_config({"traking": {}}, "test")
    with pytest.raises(ConfigError, match=r"label\.yaml: cues\.flow\.upscale must be >= 0\.25"):
        label_config({"cues": {"flow": {"upscale": 0}}}, "label.yaml")


def test_stages_of_networks_ask_a_cluster_for_gpus() -> None:
    def shares(**semantics: object) -> dict[str, float]:
        config = label_config({"run": {"gpu_share": 0.25}, "semantics": semantics}, "test")
        return {stage.name: stage.gpus for stage in config.stages().all if stage.gpus}

    dino = {"features": {"kind": "dino-vits8"}}
    assert shares() == {}
    assert shares(**dino) == {"vectors": 0.25, "semantics": 0.25, "describe": 0.25}
    assert shares(**dino, codes={"enabled": True}).keys() == {"distil", "vectors", "semantics", "describe"}


def test_the_files_in_the_repository_are_valid() -> None:
    configs = {path.stem: read_label_config(path) for path in (ROOT / "training" / "configs").glob("label*.yaml")}
    assert configs.pop("label") == LabelConfig()
    assert {name: config.semantics.features.kind for name, config in configs.items()} == {
        "label_dino": "dino-vitb8",
        "label_self_trained": "self-trained",
    }


def test_commands_of_the_page_parse() -> None:
    page = (ROOT / "docs" / "pipeline.md").read_text()
    commands = re.findall(r"^videocups label (.+?)(?: +#.*)?$", page, flags=re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        label_parser().parse_args(command.split())


def test_settings_of_the_page_parse() -> None:
    page = (ROOT / "docs" / "pipeline.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    configs = [label_config(yaml.safe_load(block), "page") for block in blocks]
    assert [config.run.batch for config in configs if config.run != RunConfig()] == [16]
    (learned,) = (config.learned for config in configs if config.learned != LearnedConfig())
    assert learned == LearnedConfig(Path("runs/flow"), Path("runs/depth"))
    for inline in re.findall(r"`(\w+: \{.*?\})`", page):
        label_config(yaml.safe_load(inline), "page")


def test_help_needs_no_heavy_imports() -> None:
    import subprocess
    import sys

    code = "import sys; from videocups.cli import main\ntry: main(['label', '--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'cv2', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_ids_and_classes_keep_their_kind(tmp_path: Path) -> None:
    from videocups.pipeline.formats import decode, encode

    for values in (np.array([[0, 255]], np.uint8), np.array([[0, 65535]], np.int32)):
        path = tmp_path / "map.png"
        path.write_bytes(encode(values, ".png"))
        assert decode(path).dtype == values.dtype
        np.testing.assert_array_equal(decode(path), values)
    with pytest.raises(ValueError, match=r"0\.\.65535"):
        encode(np.array([[70_000]]), ".png")
