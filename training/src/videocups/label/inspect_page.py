"""A page to look at a clip and what was made of it: image, flow, depth, motion, instances, tracks under one slider."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from videocups.label.inspect_layers import Picture, draw, present_layers
from videocups_core.clip import Clip, write_atomically


def write_inspection(
    clip: Clip,
    out: Path,
    *,
    every: int = 1,
    width_px: int = 480,
    quality: int = 80,
    on_frame: Callable[[], None] | None = None,
) -> int:
    """Write one self-contained HTML file with every ``every``-th frame; returns how many frames it shows."""
    layers = present_layers(clip)
    if not layers:
        raise ValueError(
            f"{clip.folder} has nothing to show but its frames; make labels with 'videocups label --stage tracks'"
        )
    frames = list(range(0, len(clip), every))
    titles = ["image", *(layer.title for layer in layers)]
    pictures: list[list[str]] = []
    for index in frames:
        image = clip.frame_rgb(index)
        drawn = [image, *(draw(clip, layer, index, image) for layer in layers)]
        pictures.append([_data_url(picture, width_px, quality) for picture in drawn])
        if on_frame is not None:
            on_frame()
    write_atomically(out, page(clip.info.name, titles, frames, pictures).encode())
    return len(frames)


def page(name: str, titles: Sequence[str], frames: Sequence[int], pictures: Sequence[Sequence[str]]) -> str:
    """Return the page; ``pictures``: one data URL per frame and layer, empty where there is nothing."""
    cells = "".join(
        f'<figure><img alt="{html.escape(title)}"><p class="none">nothing here: the frame failed or follows a cut</p>'
        f"<figcaption>{html.escape(title)}</figcaption></figure>"
        for title in titles
    )
    data = json.dumps({"frames": list(frames), "pictures": [list(row) for row in pictures]}).replace("</", "<\\/")
    return (
        _TEMPLATE.replace("@NAME@", html.escape(name))
        .replace("@LAST@", str(len(frames) - 1))
        .replace("@CELLS@", cells)
        .replace("@DATA@", data)
    )


def _data_url(picture: Picture | None, width_px: int, quality: int) -> str:
    if picture is None:
        return ""
    height, width = picture.shape[:2]
    if width > width_px:
        size = (width_px, max(1, round(height * width_px / width)))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"a picture of {picture.shape} cannot be encoded as JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>@NAME@</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 0; background: #16181c; color: #e8e8e8; }
header { position: sticky; top: 0; background: #16181ceb; padding: 10px 16px; display: flex; gap: 14px;
  align-items: center; z-index: 1; }
h1 { font-size: 16px; margin: 0; } input { flex: 1; } button { font: inherit; padding: 2px 12px; }
output { min-width: 7em; text-align: right; font-variant-numeric: tabular-nums; }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(400px, 1fr)); gap: 10px; padding: 0 16px 16px; }
figure { margin: 0; background: #22252b; border-radius: 6px; overflow: hidden; }
img { width: 100%; display: block; } figcaption { padding: 4px 10px; color: #b9bec8; }
.none { display: none; padding: 30px 10px; margin: 0; color: #b9bec8; }
figure.empty img { display: none; } figure.empty .none { display: block; }
</style></head><body>
<header><h1>@NAME@</h1><button id="play">play</button>
<input id="at" type="range" min="0" max="@LAST@" value="0" aria-label="frame"><output id="which"></output></header>
<main>@CELLS@</main>
<script>
const data = @DATA@;
const slider = document.getElementById("at"), which = document.getElementById("which");
const figures = [...document.querySelectorAll("figure")];
let timer = null;
function show() {
  const row = data.pictures[slider.value];
  figures.forEach((figure, layer) => {
    figure.classList.toggle("empty", !row[layer]);
    if (row[layer]) figure.querySelector("img").src = row[layer];
  });
  which.textContent = "frame " + data.frames[slider.value];
}
function step(by) {
  const count = data.frames.length;
  slider.value = (Number(slider.value) + by + count) % count;
  show();
}
slider.addEventListener("input", show);
document.addEventListener("keydown", (event) => {
  if (event.target === slider) return;
  if (event.key === "ArrowRight") step(1);
  if (event.key === "ArrowLeft") step(-1);
});
document.getElementById("play").addEventListener("click", (event) => {
  timer = timer ? clearInterval(timer) : setInterval(() => step(1), 120);
  event.target.textContent = timer ? "stop" : "play";
});
slider.value = location.hash.slice(1) || 0;
show();
</script></body></html>
"""
