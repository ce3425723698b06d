"""``videocups ingest`` on recordings: right frames, right cameras, nothing silent, nothing half-written."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from videocups.cli import main
from videocups.clips.store import LEDGER_FOLDER
from videocups_core.clip import Clip, find_clips
from videocups_core.encodings import ENCODINGS, decode_image

RIGHT = "/cam_right/image_raw"


@pytest.fixture
def run(recordings, capsys):
    """Run ``videocups ingest … --out clips`` and return (status, clips, what was printed)."""

    def run(*arguments, out="clips"):
        status = main(["ingest", *map(str, arguments), "--out", str(recordings.folder / out)])
        printed = capsys.readouterr()
        try:
            clips = [Clip(folder) for folder in find_clips(recordings.folder / out)]
        except FileNotFoundError:
            clips = []
        return status, clips, printed.out + printed.err

    return run


def with_info(recordings, images, **options):
    return [("/cam/camera_info", recordings.t0, recordings.camera_info(**options)), *images]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding(recordings, run, encoding):
    path = recordings.bag("drive", with_info(recordings, recordings.images(3, encoding=encoding)))
    status, (clip,), _ = run(path, "--png")
    assert status == 0
    image = recordings.image(1, encoding=encoding)
    expected = decode_image(image.data, encoding=encoding, height=24, width=32, step=image.step)
    assert np.array_equal(clip.frame_rgb(1), expected)


def test_stamps_and_intrinsics(recordings, run):
    path = recordings.bag("drive", with_info(recordings, recordings.images(5), d=(-0.1, 0.01, 0, 0, 0)), storage="db3")
    status, (clip,), _ = run(path, "--topic", recordings.topic)
    assert status == 0
    assert clip.info.name == "drive_cam_0000"
    assert clip.info.camera_name == "cam"
    assert clip.info.stamps_ns == tuple(recordings.t0 + i * recordings.period for i in range(5))  # not the log times
    assert clip.info.camera.k == (30.0, 0, 15.5, 0, 31.0, 11.5, 0, 0, 1)
    assert clip.info.camera.distortion == (-0.1, 0.01, 0, 0, 0)
    assert clip.info.source.topic == recordings.topic
    assert len(clip.info.source.sha256) == 64
    assert np.abs(clip.frame_rgb(2).astype(int) - recordings.rgb(2)).mean() < 4  # JPEG


def test_jpeg_bytes_are_kept(recordings, run):
    blobs = [cv2.imencode(".jpg", recordings.rgb(i)[..., ::-1])[1].tobytes() for i in range(3)]
    topic = "/cam/image_raw/compressed"
    messages = [(topic, recordings.t0 + i * recordings.period, recordings.jpeg(i, b)) for i, b in enumerate(blobs)]
    status, (clip,), _ = run(recordings.bag("drive", with_info(recordings, messages)))
    assert status == 0
    assert [clip.path("frames", i, ".jpg").read_bytes() for i in range(3)] == blobs
    assert clip.info.camera is not None  # camera_info beside image_raw, not beside compressed


def test_exchanged_channels_are_not_kept(recordings, run):
    blob = cv2.imencode(".jpg", recordings.rgb(0))[1].tobytes()  # R and B exchanged, and said so
    messages = [("/cam/image/compressed", recordings.t0, recordings.jpeg(0, blob, "bgr8; jpeg compressed rgb8"))]
    _, (clip,), _ = run(recordings.bag("drive", messages), "--png")
    assert np.abs(clip.frame_rgb(0).astype(int) - recordings.rgb(0)).mean() < 4


def test_broken_messages_are_left_out_and_told(recordings, run):
    good = cv2.imencode(".jpg", recordings.rgb(0)[..., ::-1])[1].tobytes()
    blobs = [good, good[:-40], good, b"no image", good[:-50], good]
    topic = "/cam/image_raw/compressed"
    messages = [(topic, recordings.t0 + i * recordings.period, recordings.jpeg(i, b)) for i, b in enumerate(blobs)]
    status, (clip,), text = run(recordings.bag("drive", messages))
    assert status == 3
    assert [(stamp - recordings.t0) // recordings.period for stamp in clip.info.stamps_ns] == [0, 2, 5]
    assert sorted(path.name for path in (clip.folder / "frames").iterdir()) == [f"00000{i}.jpg" for i in range(3)]
    assert "broken 2 × JPEG" in text
    assert "broken 1 × compressed image is no JPEG or PNG" in text


def test_a_cut_bag_exits_with_3_also_the_second_time(recordings, run):
    data = recordings.mcap("drive.mcap", recordings.image_topics(), recordings.raw(9)).read_bytes()
    path = recordings.folder / "drive.mcap"
    path.write_bytes(data[: len(data) * 2 // 3])
    for _ in range(2):
        status, (clip,), text = run(path)
        assert status == 3
        assert "LOST: drive.mcap ends early" in text
        assert 4 <= len(clip) < 9


def test_a_second_run_does_nothing_and_other_options_are_refused(recordings, run):
    path = recordings.bag("drive", recordings.images(8))
    run(path, "--clip-length", 3)
    before = {p: p.stat().st_mtime_ns for p in (recordings.folder / "clips").rglob("*") if p.is_file()}
    status, clips, text = run(path, "--clip-length", 3)
    assert (status, [len(clip) for clip in clips]) == (0, [3, 3, 2])
    assert "done before" in text
    assert {p: p.stat().st_mtime_ns for p in (recordings.folder / "clips").rglob("*") if p.is_file()} == before
    status, clips, text = run(path, "--clip-length", 5)
    assert status == 1
    assert "--overwrite" in text
    assert [len(clip) for clip in clips] == [3, 3, 2]
    status, clips, _ = run(path, "--clip-length", 5, "--overwrite")
    assert (status, [len(clip) for clip in clips]) == (0, [5, 3])


def test_a_killed_run_is_finished_without_redoing_whole_clips(recordings, run):
    path = recordings.bag("drive", recordings.images(8))
    run(path, "--clip-length", 3)
    clips = recordings.folder / "clips"
    kept = clips / "drive_cam_0000" / "clip.json"
    stamp = kept.stat().st_mtime_ns
    next((clips / LEDGER_FOLDER).glob("*.json")).unlink()
    (clips / "drive_cam_0001" / "frames" / "000002.jpg").unlink()
    status, found, _ = run(path, "--clip-length", 3, "--overwrite")
    assert (status, [len(clip) for clip in found]) == (0, [3, 3, 2])
    assert len(list((clips / "drive_cam_0001" / "frames").iterdir())) == 3
    assert kept.stat().st_mtime_ns == stamp


def test_window_and_rate(recordings, run):
    path = recordings.bag("drive", recordings.images(40))
    _, (clip,), _ = run(path, "--start", 1, "--end", 3, "--rate", 5)
    assert [(stamp - recordings.t0) // recordings.period for stamp in clip.info.stamps_ns] == list(range(10, 30, 2))
    absolute = recordings.t0 / 1e9 + 1
    _, (clip,), _ = run(path, "--start", absolute, "--end", absolute + 0.35, out="other")
    assert len(clip) in (3, 4)  # float seconds since 1970 are good to 0.2 µs
    status, _, text = run(path, "--start", 10, out="third")
    assert status == 1
    assert "lasts 3.90 s" in text


def test_gaps_and_loops_cut(recordings, run):
    stamps = [0, 1, 2, 20, 21, 0, 1, 2]  # a pause, then the recording starts over
    messages = [
        (recordings.topic, recordings.t0 + i, recordings.image(i, stamp=recordings.t0 + s * recordings.period))
        for i, s in enumerate(stamps)
    ]
    _, clips, _ = run(recordings.bag("drive", messages))
    assert [len(clip) for clip in clips] == [3, 2, 3]


def test_repeated_late_and_missing_stamps(recordings, run):
    stamps = [recordings.t0 + i * recordings.period for i in (1, 1, 3, 2, 4)] + [0]
    messages = [(recordings.topic, recordings.t0 + i, recordings.image(i, stamp=s)) for i, s in enumerate(stamps)]
    path = recordings.bag("drive", messages)
    status, (clip,), text = run(path)
    assert status == 3
    assert [(stamp - recordings.t0) // recordings.period for stamp in clip.info.stamps_ns] == [1, 3, 4]
    for cause in ("1 × repeated stamp", "1 × stamp older than the frame before", "1 × no stamp in its header"):
        assert cause in text
    _, (clip,), _ = run(path, "--recorded-stamps", out="recorded")
    assert clip.info.stamps_ns == tuple(recordings.t0 + i for i in range(6))


def test_standing_still_is_left_out(recordings, run):
    pictures = [0, 1, 1, 1, 1, 2, 3]
    messages = []
    for i, picture in enumerate(pictures):
        image = recordings.image(picture, stamp=recordings.t0 + i * recordings.period)
        messages.append((recordings.topic, recordings.t0 + i, image))
    _, (clip,), text = run(recordings.bag("drive", messages), "--min-motion", "1")
    assert [(stamp - recordings.t0) // recordings.period for stamp in clip.info.stamps_ns] == [0, 1, 5, 6]
    assert "left out 3 × too little motion" in text


def test_stereo_pairs_by_stamp(recordings, run):
    left = [(recordings.topic, log, message) for _, log, message in recordings.images(6)]
    right = []
    for i in (0, 1, 3, 4, 5):  # one is missing; stamps differ by 1 ms; they are logged late
        stamp = recordings.t0 + i * recordings.period + 1_000_000
        right.append((RIGHT, stamp + 30_000_000, recordings.image(i + 7, stamp=stamp)))
    infos = [
        ("/cam/camera_info", recordings.t0, recordings.camera_info()),
        ("/cam_right/camera_info", recordings.t0, recordings.camera_info(tx=-29.0 * 0.54)),
    ]
    messages = sorted([*infos, *left, *right], key=lambda item: item[1])
    path = recordings.bag("drive", messages)
    status, (clip,), text = run(path, "--topic", recordings.topic, "--stereo-topic", RIGHT, "--png")
    assert status == 0
    assert [(stamp - recordings.t0) // recordings.period for stamp in clip.info.stamps_ns] == [0, 1, 3, 4, 5]
    assert clip.info.stereo_baseline_m == pytest.approx(0.54)
    assert np.array_equal(clip.frame_rgb(2, right=True), recordings.rgb(10))
    assert "left out 1 × no stereo partner" in text
    status, _, text = run(path, "--topic", RIGHT, "--stereo-topic", recordings.topic, out="swapped")
    assert status == 1
    assert "exchange the two image sources" in text
    _, (clip,), _ = run(path, "--topic", recordings.topic, "--stereo-topic", RIGHT, "--baseline", 0.3, out="given")
    assert clip.info.stereo_baseline_m == 0.3


def test_speed(recordings, run):
    odometry = [
        (
            "/odom",
            recordings.t0 + i * recordings.period,
            recordings.odometry(recordings.t0 + i * recordings.period, 2.0 * i),
        )
        for i in range(0, 10, 2)
    ]
    messages = sorted([*recordings.images(8), *odometry], key=lambda item: item[1])
    path = recordings.bag("drive", messages)
    _, (clip,), _ = run(path, "--odometry-topic", "/odom")
    assert clip.info.ego_speed_mps == pytest.approx([2.0 * i for i in range(8)])
    status, _, text = run(path, "--odometry-topic", recordings.topic, out="wrong")
    assert status == 1
    assert "nav_msgs/msg/Odometry" in text


def test_rectified_topics_take_the_projection_matrix(recordings, run):
    messages = with_info(recordings, recordings.images(3, topic="/cam/image_rect_color"), d=(-0.2, 0.1, 0, 0, 0))
    _, (clip,), _ = run(recordings.bag("drive", messages))
    assert clip.info.camera.fx == 29.0
    assert clip.info.camera.distortion_model == "none"


def test_undistort(recordings, run):
    path = recordings.bag("drive", with_info(recordings, recordings.images(3), d=(-0.2, 0.02, 0, 0, 0)))
    _, (clip,), _ = run(path, "--undistort", "--png")
    assert clip.info.camera.distortion_model == "none"
    assert not np.array_equal(clip.frame_rgb(0), recordings.rgb(0))
    status, _, text = run(recordings.bag("bare", recordings.images(3)), "--undistort", out="other")
    assert status == 1
    assert "--calibration" in text


BAD = {
    "no such topic": (["--topic", "/nothing"], "image topics are: /cam/image_raw"),
    "a topic without images": (["--topic", "/cam/camera_info"], "holds no images"),
    "no such camera info": (["--camera-info-topic", "/nothing"], "has no topic '/nothing'"),
    "camera info of another type": (["--camera-info-topic", "/cam/image_raw"], "--camera-info-topic needs"),
    "calibration of another size": (["--calibration", "CALIBRATION"], "is for 640×480 px but the images are 32×24"),
    "no such calibration": (["--calibration", "/nothing/k.yaml"], "cannot read calibration"),
    "window upside down": (["--start", "3", "--end", "2"], "must be later than"),
    "quality": (["--quality", "0"], "--quality must be in 1..100"),
    "length": (["--clip-length", "ten"], "--clip-length must be frames"),
    "rate": (["--rate", "-1"], "--rate must be above 0"),
    "options of a folder": (["--fps", "10"], "is a bag"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing(recordings, run, case):
    path = recordings.bag("drive", with_info(recordings, recordings.images(3)))
    calibration = recordings.folder / "k.yaml"
    calibration.write_text("{fx: 400, fy: 400, cx: 320, cy: 240, width: 640, height: 480}")
    arguments, words = BAD[case]
    status, _, text = run(path, *(str(calibration) if a == "CALIBRATION" else a for a in arguments))
    assert status == 1
    assert words in text
    assert len(text.strip().splitlines()) == 1
    assert not (recordings.folder / "clips").exists()


def test_camera_info_of_another_size(recordings, run):
    path = recordings.bag("drive", with_info(recordings, recordings.images(3), height=48, width=64))
    status, clips, text = run(path)
    assert (status, clips) == (1, [])
    assert "is for 64×48 px but the images are 32×24" in text


def test_unknown_encoding_and_empty_bags(recordings, run):
    image = recordings.image(0)
    image.encoding = "rgb565"
    status, clips, text = run(recordings.bag("odd", [(recordings.topic, recordings.t0, image)]))
    assert (status, clips) == (1, [])
    assert "encoding 'rgb565' is not supported" in text
    status, clips, text = run(recordings.bag("empty", []), out="b")
    assert (status, clips) == (1, [])
    assert "has no image topic" in text
    status, clips, text = run(recordings.mcap("void.mcap", recordings.image_topics(), []), out="c")
    assert (status, clips) == (1, [])
    assert "holds no messages" in text
    assert not any((recordings.folder / name).exists() for name in ("clips", "b", "c"))


def test_several_topics_must_be_chosen_from(recordings, run):
    path = recordings.bag("drive", [*recordings.images(2), *recordings.images(2, topic=RIGHT)])
    status, _, text = run(path)
    assert status == 1
    assert f"choose one with --topic: /cam/image_raw, {RIGHT}" in text


def test_a_folder_that_cannot_be_written(recordings, run):
    (recordings.folder / "file").write_text("in the way")
    status, _, text = run(recordings.bag("drive", recordings.images(2)), out="file/clips")
    assert status == 1
    assert "give another --out" in text


def test_one_bad_source_does_not_stop_the_others(recordings, run):
    good = recordings.bag("good", recordings.images(3))
    status, clips, text = run(recordings.folder / "missing", good)
    assert status == 1
    assert len(clips) == 1
    assert "missing does not exist" in text


def test_images_that_change_their_size(recordings, run):
    messages = [*recordings.images(3), *recordings.images(2, first=3, height=48, width=64)]
    status, (clip,), text = run(recordings.bag("drive", messages))
    assert status == 3
    assert len(clip) == 3
    assert "broken 2 × image of another size than the first (64×48 px)" in text
