from __future__ import annotations

import base64
import json
import re

import cv2
import numpy as np
import pytest

from videocups.cli import main
from videocups.label.inspect_layers import draw_classes, draw_ids
from videocups.pipeline.formats import encode
from videocups_core.clip import ClipInfo, write_clip_info
from videocups_core.palette import class_colors


@pytest.fixture
def clip(tmp_path):
    """Three grey frames; frame 1 has no labels, as after a cut."""
    folder = tmp_path / "clip"
    info = ClipInfo("a <b> clip", "front", 64, 32, tuple(10**8 * at for at in range(3)))
    (folder / "frames").mkdir(parents=True)
    for index in range(3):
        cv2.imwrite(str(folder / "frames" / f"{index:06d}.jpg"), np.full((32, 64, 3), 120, np.uint8))
    ids = np.zeros((32, 64), np.int32)
    ids[8:24, 16:48] = 7
    flow = np.zeros((32, 64, 2), np.float16)
    seen = np.packbits(np.ones((32, 64), bool))
    artefacts = {
        "tracks/{}.png": ids,
        "motion/{}.npz": {"motion": (ids > 0).astype(np.float16)},
        "depth/{}.npz": {"depth_heights": np.linspace(1, 30, 32 * 64).reshape(32, 64).astype(np.float16)},
        "flow/{}.npz": {"forward_px": flow, "visible_forward": seen},
    }
    for index in (0, 2):
        for name, value in artefacts.items():
            path = folder / name.format(f"{index:06d}")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(encode(value, path.suffix))
    write_clip_info(folder, info)
    return folder


def content(path):
    return json.loads(re.search(r"const data = (.*);\n", path.read_text()).group(1).replace("<\\/", "</"))


def test_the_page_holds_every_layer_of_every_frame_and_says_where_one_is_missing(clip, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert main(["inspect", str(clip), "--out", str(out), "--width", "32"]) == 0
    assert "3 frames" in capsys.readouterr().out
    page, data = out.read_text(), content(out)
    assert "a &lt;b&gt; clip" in page
    assert "http" not in re.sub(r"data:image[^\"]*", "", page)  # nothing is fetched from anywhere
    assert data["frames"] == [0, 1, 2]
    assert [[bool(url) for url in row] for row in data["pictures"]] == [[True] * 5, [True] + [False] * 4, [True] * 5]
    picture = base64.b64decode(data["pictures"][0][0].split(",")[1])
    assert cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape == (16, 32, 3)


def test_every_nth_frame(clip, tmp_path):
    out = tmp_path / "page.html"
    assert main(["inspect", str(clip), "--out", str(out), "--every", "2"]) == 0
    assert content(out)["frames"] == [0, 2]


def test_a_clip_without_labels_is_told_how_to_get_them(clip, tmp_path, capsys):
    for kind in ("tracks", "motion", "depth", "flow"):
        for path in (clip / kind).iterdir():
            path.unlink()
    assert main(["inspect", str(clip), "--out", str(tmp_path / "page.html")]) == 1
    assert "videocups label" in capsys.readouterr().err


def test_a_folder_with_one_clip_will_do_and_several_are_named(clip, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert main(["inspect", str(tmp_path), "--out", str(out)]) == 0
    write_clip_info(tmp_path / "other", ClipInfo("other", "front", 64, 32, (0,)))
    assert main(["inspect", str(tmp_path), "--out", str(out)]) == 1
    assert f"holds 2 clips; give one of them: {clip}, {tmp_path / 'other'}" in capsys.readouterr().err


def test_ids_keep_their_colour_from_frame_to_frame():
    image = np.full((20, 20, 3), 100, np.uint8)
    ids = np.zeros((20, 20), np.int32)
    ids[5:15, 5:15] = 9
    other = ids.copy()
    other[0:3, 0:3] = 4
    assert draw_ids(ids, image)[10, 10].tolist() == draw_ids(other, image)[10, 10].tolist()
    assert draw_ids(ids, image)[0, 0].tolist() == [45, 45, 45]
    assert draw_ids(ids, image)[5, 10].tolist() == [255, 255, 255]


def test_a_class_keeps_its_colour_and_void_is_black():
    image = np.full((2, 256, 3), 100, np.uint8)
    classes = np.tile(np.arange(256, dtype=np.uint8), (2, 1))
    picture = draw_classes(classes, image)
    expected = (35 + 0.65 * class_colors(3)).astype(np.uint8)  # a longer table begins with the shorter one
    np.testing.assert_array_equal(picture[0, :3], expected)
    np.testing.assert_array_equal(picture[:, 255], 35)
    assert len(np.unique(picture[0, :27], axis=0)) == 27
