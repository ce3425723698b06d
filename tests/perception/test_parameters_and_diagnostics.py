"""Parameters refuse with sentences; the health of inputs and inference is judged by rules."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

pytestmark = pytest.mark.ros
rclpy = pytest.importorskip("rclpy", reason="needs ROS 2: source env.sh")

from videocups_core.panoptic.merge import MergeConfig  # noqa: E402
from videocups_perception.diagnostics import Bulletin, InferenceHealth, InputHealth, Level, Status  # noqa: E402
from videocups_perception.loading import load_stream, model_facts  # noqa: E402
from videocups_perception.parameters import NodeParameters, descriptor_of  # noqa: E402
from videocups_perception.scheduling import Counts, DropCause  # noqa: E402

BOOKS = Counts(0, 0, {}, 0)


def test_every_parameter_is_described_and_bounded():
    for info in fields(NodeParameters):
        descriptor = descriptor_of(info)
        assert len(descriptor.description) > 10, info.name
        if isinstance(info.default, int | float) and not isinstance(info.default, bool):
            bounded = descriptor.integer_range or descriptor.floating_point_range
            assert bounded or "one of" in descriptor.additional_constraints, info.name
    live = {info.name for info in fields(NodeParameters) if info.metadata["live"]}
    assert live == {"score_threshold", "overlap_threshold", "max_rate_hz", "overlay_alpha"}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"rotation_deg": 45}, "rotation_deg must be one of 0, 90, 180, 270, got 45"),
        ({"queue_depth": 0}, "queue_depth must be in 1..1000, got 0"),
        ({"pipeline_depth": 3}, "pipeline_depth must be one of 1, 2, got 3"),
        ({"score_threshold": float("nan")}, "score_threshold must be in -1..1, got nan"),
        ({"autostart": 1}, "autostart must be a bool, got 1"),
        ({"bundle": 7}, "bundle must be a str, got 7"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(values, sentence):
    with pytest.raises(ValueError, match=sentence.replace(".", r"\.")):
        NodeParameters(**values)


def test_thresholds_left_alone_are_the_bundles():
    of_bundle = MergeConfig(score_threshold=0.3, overlap_threshold=0.7)
    assert NodeParameters().merge_config(of_bundle) == of_bundle
    changed = NodeParameters(score_threshold=0.0).merge_config(of_bundle)
    assert (changed.score_threshold, changed.overlap_threshold) == (0.0, 0.7)


def judged(health, now_s, publishers=1):
    status = health.status("vps: image", BOOKS, publishers, now_s)
    return status.level, status.message


def test_silence_is_an_error_after_the_threshold_and_says_whether_anybody_publishes():
    health = InputHealth("/image", 0.4, since_s=0.0, expects_first=True)
    assert judged(health, 0.39)[0] is Level.OK
    assert judged(health, 0.41) == (Level.ERROR, "silent for 0.4 s: /image has a publisher, but no message comes")
    assert "nobody publishes /image" in judged(health, 0.41, publishers=0)[1]
    health.heard(0.5)
    health.usable(0.5)
    assert judged(health, 0.6) == (Level.OK, "receiving")


def test_a_slow_topic_gets_two_and_a_half_of_its_periods():
    health = InputHealth("/image", 0.4, since_s=0.0, expects_first=True)
    for second in range(5):
        health.heard(float(second))
        health.usable(float(second))
    assert judged(health, 6.4)[0] is Level.OK
    assert judged(health, 6.6)[0] is Level.ERROR


def test_a_topic_published_once_is_not_called_silent():
    health = InputHealth("/camera_info", 0.4, since_s=0.0, expects_first=False)
    health.heard(0.1)
    health.usable(0.1)
    assert judged(health, 100.0)[0] is Level.OK


def test_a_calibration_that_never_came_is_a_warning():
    health = InputHealth("/camera_info", 0.4, since_s=0.0, expects_first=False)
    assert judged(health, 0.3, publishers=0) == (Level.OK, "waiting")
    level, message = judged(health, 60.0, publishers=0)
    assert level is Level.WARN
    assert message.startswith("silent for 60.0 s: nobody publishes /camera_info; check the topic name")
    health.heard(61.0)
    health.usable(61.0)
    assert judged(health, 99.0)[0] is Level.OK


def test_drops_warn_for_a_while_and_only_unusable_input_is_an_error():
    health = InputHealth("/image", 0.4, since_s=0.0, expects_first=True)
    health.heard(0.1)
    health.usable(0.1)
    health.dropped(DropCause.WRONG_SIZE, "step 3 is too small", 0.2)
    assert judged(health, 0.3) == (Level.WARN, "dropped, wrong_size: step 3 is too small")
    health.dropped(DropCause.THROTTLED, "", 0.35)
    assert "throttled" not in judged(health, 0.4)[1]  # asked for
    for tenth in range(4, 10):
        health.heard(tenth / 10)
        health.dropped(DropCause.WRONG_SIZE, "step 3 is too small", tenth / 10)
    level, message = judged(health, 0.95)
    assert level is Level.ERROR
    assert message.startswith("no usable message for 0.8 s")


def test_a_model_slower_than_the_camera_is_no_error_of_the_camera():
    health = InputHealth("/image", 0.4, since_s=0.0, expects_first=True)
    for frame in range(60):  # two seconds at 30 Hz, and one inference takes all of them
        health.heard(frame / 30)
        if frame == 0:
            health.usable(0.0)
        else:
            health.dropped(DropCause.OVERRUN, "", frame / 30)
    assert judged(health, 2.0) == (Level.WARN, "dropped, overrun")
    health.dropped(DropCause.CORRUPT, "cut off", 2.0)
    assert judged(health, 2.01)[0] is Level.ERROR


def test_gaps_in_a_publishers_numbers_are_lost_messages():
    health = InputHealth("/image", 0.4, since_s=0.0, expects_first=True)
    for publisher, number in ((b"a", 5), (b"a", 6), (b"b", 1), (b"a", 9), (b"b", 2), (b"b", 4)):
        health.heard(0.0, {"publication_sequence_number": number, "publisher_gid": {"data": publisher}})
    assert health.status("x", BOOKS, 2, 0.1).values["lost_before_node"] == "3"


def test_numbers_without_a_name_are_compared_only_while_one_publisher_counts():
    """On Jazzy messages do not say which publisher they are from."""
    health = InputHealth("/image", 0.4, since_s=0.0, expects_first=True)

    def lost_after(publishers, *numbers):
        health.status("x", BOOKS, publishers, 0.1)
        for number in numbers:
            health.heard(0.0, {"publication_sequence_number": number})
        return health.status("x", BOOKS, publishers, 0.1).values["lost_before_node"]

    assert lost_after(1, 5000, 5001, 5003) == "1"
    assert lost_after(2, 1, 5004, 2, 5005, 3, 5006) == "1"
    assert lost_after(1, 5007, 5010) == "3"


def test_inference_reports_percentiles_failures_and_age():
    health = InferenceHealth(age_warn_s=0.5)
    health.standing = ""
    assert health.status("x", {}, 0.0).message == "waiting for images"
    for index in range(100):
        health.done(index * 0.01, latency_s=(index + 1) / 1000, age_s=0.1)
    values = health.status("x", {"model": "m"}, 1.0).values
    assert float(values["latency_p50_ms"]) == pytest.approx(50.5)
    assert float(values["latency_p95_ms"]) == pytest.approx(95.05, abs=0.06)
    assert float(values["output_rate_hz"]) == pytest.approx(100, rel=0.02)
    assert values["model"] == "m"
    health.failed(RuntimeError("lost the device"), 1.0)
    assert health.status("x", {}, 1.1).level is Level.ERROR
    health.done(1.2, 0.01, 0.1)
    assert health.status("x", {}, 1.3).level is Level.ERROR  # still held, so that it is seen
    assert health.status("x", {}, 1.6).level is Level.OK
    health.done(1.7, 0.01, 0.8)
    assert health.status("x", {}, 1.8).level is Level.WARN
    assert health.status("x", {}, 1.8).values["age_ms"] == "800.0"
    health.done(1.9, 0.01, 1e8)  # a bag of last year without use_sim_time
    assert health.status("x", {}, 2.0).level is Level.OK
    assert [name for name in health.status("x", {}, 2.0).values if name.startswith("age")] == []
    assert health.status("x", {}, 3.8).message == "running"
    assert health.status("x", {}, 4.0).message == "waiting for images"


def test_a_frame_that_hangs_is_told_while_it_hangs():
    health = InferenceHealth(age_warn_s=0.5)
    for index in range(3):
        health.took(index * 0.1)
        health.done(index * 0.1 + 0.05, latency_s=0.05, age_s=0.05)
        health.laid_down(index * 0.1)
    health.took(1.0)
    assert health.status("x", {}, 2.9).level is Level.OK
    status = health.status("x", {}, 4.1)
    assert (status.level, status.message) == (
        Level.ERROR, "one frame has been in inference for 3 s; the model or its device hangs",
    )  # fmt: skip
    health.done(4.2, latency_s=3.2, age_s=3.2)
    health.laid_down(1.0)
    assert health.status("x", {}, 4.3).level is Level.WARN  # that one is old
    slow = InferenceHealth(age_warn_s=60.0)
    slow.done(0.0, latency_s=4.0, age_s=4.0)
    slow.took(0.0)
    assert slow.status("x", {}, 10.0).level is Level.OK  # as ever


def test_of_two_frames_in_hand_the_one_that_hangs_is_told():
    health = InferenceHealth(age_warn_s=60.0)
    health.done(0.0, latency_s=0.05, age_s=0.05)
    health.took(1.0)
    health.took(2.0)
    assert health.status("x", {}, 3.1).level is Level.ERROR  # the first
    health.laid_down(1.0)
    assert health.status("x", {}, 3.1).level is Level.OK  # the second, in hand for 1.1 s
    assert "for 3 s" in health.status("x", {}, 5.0).message
    health.laid_down(2.0)
    assert health.status("x", {}, 5.0).level is Level.OK


def test_a_bulletin_comes_every_period_and_after_every_change_but_never_in_a_flood():
    bulletin = Bulletin(period_s=1.0, gap_s=0.1)
    fine, bad = Status("x", Level.OK, ""), Status("x", Level.ERROR, "")
    published = [
        bulletin.is_due([status], drops, now_s)
        for status, drops, now_s in (
            (fine, 0, 0.0), (fine, 0, 0.5), (fine, 0, 1.0), (bad, 0, 1.05), (bad, 0, 1.1), (bad, 1, 1.12),
            (bad, 1, 1.16), (bad, 1, 1.3),
        )
    ]  # fmt: skip
    # A new level is told at once; drops within 0.1 s are told together.
    assert published == [True, False, True, True, False, False, True, False]


def test_the_manual_lists_every_parameter_as_it_is():
    text = (Path(__file__).parents[2] / "docs" / "tune.md").read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    listed = {row[0].strip("| `"): (row[1], row[3].rstrip(" |")) for row in rows}
    assert listed.keys() == {info.name for info in fields(NodeParameters)}
    for info in fields(NodeParameters):
        default, text = listed[info.name]
        shown = str(info.default).lower() if isinstance(info.default, bool) else str(info.default) or "''"
        assert default == shown, info.name
        live = " **live**" if info.metadata["live"] else ""
        assert text == info.metadata["description"].replace("|", "\\|") + live, info.name


def test_without_a_bundle_the_shipped_model_is_loaded():
    stream = load_stream(NodeParameters(device="cpu", threads=1))
    assert stream.bundle.model_id == "street_small"
    assert (stream.bundle.input.height, stream.bundle.input.width) == (256, 512)
    assert "int8" in model_facts(stream)["precision"]


def test_a_graph_without_a_gpu_is_a_sentence():
    with pytest.raises(ValueError, match="cuda_graph needs a GPU and the device is cpu"):
        load_stream(NodeParameters(device="cpu", cuda_graph=True))
