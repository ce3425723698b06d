from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tests.training.pipeline.artefacts import artefacts, runs, runs_by_stage
from tests.training.pipeline.conftest import ClipMaker
from tests.training.pipeline.toy_stages import ToyConfig, obey, toy_stages

from videocups.pipeline.executors import Processes
from videocups.pipeline.failures import TooManyFailuresError
from videocups.pipeline.manifest import Row, read_rows
from videocups.pipeline.run import RunConfig, Summary, run_stages
from videocups.pipeline.stage import Input, Output, Stage, Stages
from videocups.pipeline.work import ArtefactError, Chunk, Work
from videocups.pipeline.workspace import Workspace, link_clips

INLINE = RunConfig(executor="inline")
NAMES = ("flow", "motion", "tracks", "clusters", "labels")


def run(root: Path, stages: Stages, *, retry_failed: bool = False, config: RunConfig = INLINE) -> Summary:
    return run_stages(stages, Workspace.open(root), config, retry_failed=retry_failed)


def logged(log: Path, **configs: ToyConfig) -> Stages:
    return toy_stages(**{name: replace(configs.get(name, ToyConfig()), log=str(log)) for name in NAMES})


def test_every_item_runs_once_and_then_none(make_clips: ClipMaker, tmp_path: Path) -> None:
    root, log = make_clips(5, 3), tmp_path / "runs.log"
    summary = run(root, logged(log))
    # pairs: 4 + 2, frames: 5 + 3, clips: 2, data set: 1
    assert runs_by_stage(log) == {"flow": 6, "motion": 8, "tracks": 2, "clusters": 1, "labels": 8}
    assert max(runs(log).values()) == 1
    assert summary.ran == runs_by_stage(log)
    before = artefacts(root)
    assert sum("labels" in name for name in before) == 8
    assert not run(root, logged(log)).ran
    assert runs_by_stage(log).total() == 25
    assert artefacts(root) == before


def test_values_are_what_the_functions_say(make_clips: ClipMaker) -> None:
    root = make_clips(3)
    run(root, toy_stages(tracks=ToyConfig(gain=3)))
    frames = [cv2.imread(str(root / "clip_0" / "frames" / f"{t:06d}.png")).astype(np.float32) for t in range(3)]
    flows = [(frames[t + 1] - frames[t]).astype(np.float16) for t in range(2)]
    around = [flows[:1], flows, flows[1:]]
    motion = [
        np.abs(np.mean(np.stack(f)[..., ::-1], axis=(0, 3)) + frame[..., ::-1].astype(np.uint8).mean(axis=2)).astype(
            int
        )
        for f, frame in zip(around, frames, strict=True)
    ]
    total, mean = 0, sum(int(m.sum()) for m in motion) // 3
    for t in range(3):
        total += int(motion[t].sum())
        expected = ((motion[t] + 3 * total) % 1000 + mean) % 5000
        found = cv2.imread(str(root / "clip_0" / "labels" / f"{t:06d}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("changed", "redone"),
    [
        ("flow", {"flow": 6, "motion": 8, "tracks": 2, "clusters": 1, "labels": 8}),
        ("motion", {"motion": 8, "tracks": 2, "clusters": 1, "labels": 8}),
        ("tracks", {"tracks": 2, "labels": 8}),
        ("clusters", {"clusters": 1, "labels": 8}),
        ("labels", {"labels": 8}),
    ],
)
def test_a_changed_setting_redoes_exactly_what_depends_on_it(
    make_clips: ClipMaker, changed: str, redone: dict[str, int]
) -> None:
    root = make_clips(5, 3)
    run(root, toy_stages())
    before = artefacts(root)
    assert run(root, toy_stages(**{changed: ToyConfig(gain=7)})).ran == redone
    assert artefacts(root) != before
    run(root, toy_stages())
    assert artefacts(root) == before


def test_a_changed_frame_redoes_what_saw_it(make_clips: ClipMaker) -> None:
    root = make_clips(6, 3)
    run(root, toy_stages())
    image = root / "clip_0" / "frames" / "000005.png"
    cv2.imwrite(str(image), 255 - cv2.imread(str(image)))
    # pair 4; frames 4 and 5; the clip's tracks; the data set; so all labels of both clips
    assert run(root, toy_stages()).ran == {"flow": 1, "motion": 2, "tracks": 1, "clusters": 1, "labels": 9}


def test_touched_or_copied_files_are_known_by_content(make_clips: ClipMaker) -> None:
    root = make_clips(4)
    run(root, toy_stages())
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, ns=(1, 1))
    moved = root.with_name("elsewhere")
    root.rename(moved)
    assert not run(moved, toy_stages()).ran


def test_frames_are_read_once_after_they_were_touched(make_clips: ClipMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newer of two rows counts, whichever file it stands in."""
    root = make_clips(1)
    run(root, toy_stages())
    frames = sorted(root.rglob("frames/*"))
    for path in frames:
        os.utime(path, ns=(1, 1))
    read: list[Path] = []
    known = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (read.append(path), known(path))[1])
    for times in (1, 0):
        read.clear()
        run(root, toy_stages())
        assert [read.count(path) for path in frames] == [times] * len(frames)


@pytest.mark.parametrize("harm", ["remove", "truncate", "alter"])
def test_damaged_final_artefacts_are_made_again_without_their_inputs(make_clips: ClipMaker, harm: str) -> None:
    root = make_clips(4)
    run(root, toy_stages())
    before = artefacts(root)
    path = root / "clip_0" / "labels" / "000002.png"
    data = path.read_bytes()
    path.unlink()
    if harm != "remove":
        path.write_bytes(data[:-1] if harm == "truncate" else data[:-1] + b"?")
    assert run(root, toy_stages()).ran == {"labels": 1}
    assert artefacts(root) == before


def test_lost_intermediates_are_made_again_only_when_needed(make_clips: ClipMaker) -> None:
    root = make_clips(4)
    run(root, toy_stages())
    before = artefacts(root)
    for path in [*root.rglob("flow/*"), *root.rglob("motion/*")]:
        path.unlink()
    assert not run(root, toy_stages()).ran
    (root / "clip_0" / "tracks" / "000001.png").unlink()
    assert run(root, toy_stages()).ran == {"flow": 3, "motion": 4, "tracks": 1}
    assert artefacts(root) == before


def test_a_failed_item_is_noted_and_left_out_downstream(make_clips: ClipMaker) -> None:
    root = make_clips(30)
    summary = run(root, toy_stages(motion=ToyConfig(fail_at=(7,))))
    assert summary.failed == {"motion": 1}
    assert summary.left_out == {"labels": 1}
    clip = root / "clip_0"
    row = read_rows(clip)["motion", "000007"]
    assert row.outcome == "failed"
    assert row.error == "ArithmeticError: frame 7 makes no sense"
    assert "obey" in row.trace
    for kind in ("motion", "tracks", "labels"):
        assert sorted(path.stem for path in (clip / kind).iterdir()) == [f"{t:06d}" for t in range(30) if t != 7]
    assert not run(root, toy_stages(motion=ToyConfig(fail_at=(7,)))).ran
    # mended: the frame, the clip's tracks and all that hangs on them
    assert run(root, toy_stages(motion=ToyConfig())).ran["labels"] == 30


def test_a_failure_takes_older_results_away(make_clips: ClipMaker) -> None:
    root = make_clips(30)
    run(root, toy_stages())
    run(root, toy_stages(labels=ToyConfig(fail_at=(7,))))
    assert not (root / "clip_0" / "labels" / "000007.png").exists()
    run(root, toy_stages(motion=ToyConfig(fail_at=(9,))))
    assert not (root / "clip_0" / "labels" / "000009.png").exists()
    assert (root / "clip_0" / "labels" / "000007.png").exists()


def test_failed_items_are_tried_again_when_asked(make_clips: ClipMaker, tmp_path: Path) -> None:
    root, log = make_clips(30), tmp_path / "runs.log"
    stages = logged(log, flow=ToyConfig(fail_at=(3,)))
    run(root, stages)
    run(root, stages)
    assert runs(log)["flow clip_0 3"] == 1
    run(root, stages, retry_failed=True)
    assert runs(log)["flow clip_0 3"] == 2


def test_an_unreadable_image_fails_where_it_is_read(make_clips: ClipMaker) -> None:
    root = make_clips(60)
    (root / "clip_0" / "frames" / "000030.png").write_bytes(b"no image")
    summary = run(root, toy_stages())
    assert summary.failed == {"flow": 2}
    assert summary.left_out == {"motion": 1, "labels": 1}  # without any flow there is no motion
    assert "cannot read image" in read_rows(root / "clip_0")["flow", "000030"].error


def test_a_missing_image_leaves_its_items_out(make_clips: ClipMaker) -> None:
    root = make_clips(30)
    (root / "clip_0" / "frames" / "000010.png").unlink()
    summary = run(root, toy_stages())
    assert summary.left_out == {"flow": 2, "motion": 1, "labels": 1}


def test_too_many_failures_stop_the_run(make_clips: ClipMaker) -> None:
    root = make_clips(21)
    with pytest.raises(TooManyFailuresError, match=r"'motion' failed on 2 of 21 items.*ArithmeticError: frame 3"):
        run(root, toy_stages(motion=ToyConfig(fail_at=(3, 9))))
    assert not (root / "clip_0" / "tracks").exists()
    with pytest.raises(TooManyFailuresError):
        run(root, toy_stages(motion=ToyConfig(fail_at=(3, 9))))
    run(root, toy_stages(motion=ToyConfig(fail_at=(3,))))  # 1 of 21 is below 5 %


def test_what_no_frame_is_to_blame_for_stops_the_run(make_clips: ClipMaker) -> None:
    def without_package(work: object, config: object) -> dict[str, object]:
        raise ModuleNotFoundError("No module named 'nowhere'")

    root = make_clips(3)
    stages = toy_stages()
    broken = Stages((replace(stages.all[0], run=without_package), *stages.all[1:]))
    with pytest.raises(ModuleNotFoundError):
        run(root, broken)
    assert ("flow", "000000") not in read_rows(root / "clip_0")


def test_two_runs_on_the_same_clips_are_refused(make_clips: ClipMaker) -> None:
    root = make_clips(3)
    with Workspace.open(root).lock(), pytest.raises(ValueError, match="another run works on"):
        run(root, toy_stages())


def test_clips_of_one_frame_and_failures_everywhere_upstream(make_clips: ClipMaker) -> None:
    root = make_clips(1, 4)
    summary = run(root, toy_stages())  # a clip of one frame has no pair, so no motion, no tracks, no label
    assert summary.left_out == {"motion": 1, "tracks": 1, "labels": 1}
    assert summary.ran["labels"] == 4


def test_processes_write_the_same_bytes_as_inline(make_clips: ClipMaker) -> None:
    first, second = make_clips(7, 4, name="inline"), make_clips(7, 4, name="processes")
    run(first, toy_stages())
    run_stages(toy_stages(), Workspace.open(second), RunConfig(chunk_items=2), workers=2)
    assert artefacts(first) == artefacts(second)
    assert len(artefacts(first)) == 9 + 11 + 2 * 1 + 11 + 1 + 11


def test_an_item_that_kills_its_process_fails_and_the_others_are_done(make_clips: ClipMaker) -> None:
    root = make_clips(40)
    stages = toy_stages(motion=ToyConfig(die_at=(11,)))
    summary = run_stages(stages, Workspace.open(root), RunConfig(), workers=2)
    assert summary.failed == {"motion": 1}
    assert summary.ran["labels"] == 39
    assert "the worker process died" in read_rows(root / "clip_0")["motion", "000011"].error


def test_a_process_that_dies_before_the_next_chunk_is_handed_out_is_replaced(
    make_clips: ClipMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, calls = Processes._submit, []

    def kill_then_submit(self: Processes, chunk: Chunk) -> Future[list[Row]]:
        calls.append(chunk)
        if len(calls) == 3:
            for pid in list(self._pool._processes):
                os.kill(pid, signal.SIGKILL)
            while not self._pool._broken:
                time.sleep(0.01)
        return submit(self, chunk)

    monkeypatch.setattr(Processes, "_submit", kill_then_submit)
    summary = run_stages(toy_stages(), Workspace.open(make_clips(6)), RunConfig(chunk_items=1), workers=1)
    assert summary.ran["labels"] == 6
    assert not summary.failed


def test_a_file_that_cannot_be_written_stops_the_run(make_clips: ClipMaker) -> None:
    root = make_clips(4)
    (root / "clip_0" / "motion").write_text("in the way")
    with pytest.raises(ArtefactError, match=r"cannot write .*motion/00000"):
        run(root, toy_stages())
    assert ("motion", "000000") not in read_rows(root / "clip_0")


def test_a_stage_that_forgets_an_output_stops_the_run(make_clips: ClipMaker) -> None:
    stages = toy_stages()
    forgetful = replace(stages.all[0], run=lambda work, config: {})
    with pytest.raises(ArtefactError, match="'flow' did not return flow"):
        run(make_clips(3), Stages((forgetful, *stages.all[1:])))


def test_a_new_version_of_a_stage_redoes_it(make_clips: ClipMaker) -> None:
    root, stages = make_clips(4), toy_stages()
    run(root, stages)
    newer = Stages(replace(stage, version=2) if stage.name == "tracks" else stage for stage in stages.all)
    assert run(root, newer).ran == {"tracks": 1, "labels": 4}


def test_only_what_was_asked_for_and_its_inputs_run(make_clips: ClipMaker) -> None:
    root, stages = make_clips(4), toy_stages()
    assert run(root, stages.up_to(["motion"])).ran == {"flow": 3, "motion": 4}
    with pytest.raises(ValueError, match="no stage 'motoin'; known are flow, motion"):
        stages.up_to(["motoin"])


def test_stages_must_read_what_is_written_before_them() -> None:
    first, second, *_ = toy_stages().all
    with pytest.raises(ValueError, match="reads 'flow', which no stage before it writes"):
        Stages((second, first))
    with pytest.raises(ValueError, match="two stages are called 'flow'"):
        Stages((first, first))


def test_items_of_a_batch_share_a_call_and_one_that_fails_fails_alone(make_clips: ClipMaker) -> None:
    calls: list[tuple[int | None, ...]] = []

    def one(work: Work, config: ToyConfig) -> dict[str, int]:
        return several([work], config)[0]

    def several(works: Sequence[Work], config: ToyConfig) -> list[dict[str, int]]:
        calls.append(tuple(work.number for work in works))
        obey(works[-1], replace(config, fail_at=()))
        if any(work.number in config.fail_at for work in works):
            raise ArithmeticError("one of them makes no sense")
        return [{"seen": 10 * int(work.index)} for work in works]

    root, writes = make_clips(8), (Output("seen", ".json"),)
    stage = Stage("seen", "frame", one, ToyConfig(fail_at=(4,)), (Input("frames"),), writes, run_many=several, batch=3)
    summary = run(root, Stages([stage]), config=RunConfig(executor="inline", max_failed_share=0.5))
    assert (summary.ran["seen"], summary.failed["seen"]) == (7, 1)
    assert calls == [(0, 1, 2), (3, 4, 5), (3,), (4,), (5,), (6, 7)]
    found = {path.stem: json.loads(path.read_text()) for path in (root / "clip_0" / "seen").iterdir()}
    assert found == {f"{t:06d}": 10 * t for t in range(8) if t != 4}


def test_a_full_gpu_is_no_frames_fault(make_clips: ClipMaker) -> None:
    def full(work: Work, config: ToyConfig) -> dict[str, int]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    stage = Stage("seen", "frame", full, ToyConfig(), (Input("frames"),), (Output("seen", ".json"),))
    with pytest.raises(MemoryError, match=r"lower run\.batch"):
        run(make_clips(3), Stages([stage]))


def test_what_a_stage_of_the_data_set_waits_for_goes_first(make_clips: ClipMaker, tmp_path: Path) -> None:
    def aside(work: Work, config: ToyConfig) -> dict[str, int]:
        obey(work, config)
        return {"aside": 1}

    root, log = make_clips(3, 3), tmp_path / "runs.log"
    first = Stage("aside", "frame", aside, ToyConfig(log=str(log)), (Input("frames"),), (Output("aside", ".json"),))
    stages = Stages((first, *logged(log).all))
    run(root, stages)
    order = [line.split()[0] for line in log.read_text().splitlines()]
    assert max(order.index("clusters"), order.index("motion")) < order.index("aside") < order.index("labels")
    assert stages.leads_to() == {"aside": 6, "flow": 4, "motion": 4, "tracks": 6, "clusters": 6, "labels": 6}


def test_a_torn_row_is_no_row(make_clips: ClipMaker) -> None:
    root = make_clips(4)
    run(root, toy_stages())
    before = artefacts(root)
    rows = root / "clip_0" / ".label" / "rows.jsonl"
    lines = rows.read_bytes().splitlines(keepends=True)
    assert b'"labels"' in lines[-1]
    rows.write_bytes(b"".join(lines[:-1]) + lines[-1][:40])
    assert run(root, toy_stages()).ran == {"labels": 1}
    assert artefacts(root) == before


def test_manifests_are_folded_into_one_file(make_clips: ClipMaker) -> None:
    root = make_clips(4)
    run(root, toy_stages())
    assert [path.name for path in (root / "clip_0" / ".label").iterdir()] == ["rows.jsonl"]


def test_read_only_recordings_are_labelled_elsewhere(make_clips: ClipMaker, tmp_path: Path) -> None:
    root, out = make_clips(4), tmp_path / "labels"
    link_clips(root, out)
    run(out, toy_stages())
    assert not artefacts(root)
    link_clips(root, out)
    assert not run(out, toy_stages()).ran
