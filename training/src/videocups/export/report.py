"""What an export says of itself: what it was compared with, how far it is off, how large it is, and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.export.loss import Loss
from videocups.export.parity import Parity
from videocups_core.bundle import ModelBundle
from videocups_core.clip import write_atomically
from videocups_core.engine.base import Engine, EngineInfo
from videocups_core.overlay import draw_overlay
from videocups_core.stream import Stream

TEXT_FILE, JSON_FILE, PICTURE_FILE = "export.txt", "export.json", "export.jpg"
_STRIP_PX = 24


@dataclass(frozen=True)
class ExportReport:
    """Everything that was measured.

    ``static``: the inference face in torch, and ``exported``: its float32 graph in ONNX Runtime, both against the
    training face. ``loss``: the shipped graph on clips. ``float_parts``: what was left in float beside the last layers.
    """

    model_id: str
    precision: str
    computed_in: str
    size_hw: tuple[int, int]
    onnx_bytes: int
    float_bytes: int
    operators: Mapping[str, int]
    frames_from: str
    static: Parity
    exported: Parity
    loss: Loss | None
    max_loss: float
    engine_notes: tuple[str, ...] = ()
    float_parts: tuple[str, ...] = ()
    calibrated_on: str = ""
    complaints: tuple[str, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Say whether the bundle may be written."""
        return not self.complaints


def report_text(report: ExportReport) -> str:
    """Return the report for people."""
    height, width = report.size_hw
    lines = [
        f"{report.model_id}: {report.precision}, computed in {report.computed_in}, input {height}×{width}",
        f"model.onnx  {report.onnx_bytes / 1e6:.2f} MB (float32 {report.float_bytes / 1e6:.2f} MB), "
        f"{sum(report.operators.values())} operators",
        f"frames      {report.frames_from}",
        "",
        "against the training face        frames  detections  other   box px    score  mask IoU  embedding  semantic",
        _parity_line("inference face, torch", report.static),
        _parity_line("float32 graph, ONNX Runtime", report.exported),
    ]
    if report.loss is not None:
        lines += ["", *_loss_lines(report.loss, report.max_loss)]
    elif report.passed:
        lines += ["", "STQ and PQ were not compared: torch shows no object in these frames; give clips with --clips"]
    if report.calibrated_on:
        lines += ["", f"ranges measured on {report.calibrated_on}"]
    if report.float_parts:
        lines.append(f"left in float by measurement: {', '.join(report.float_parts)}")
    lines += [f"note: {note}" for note in report.engine_notes]
    rows = [f"{name} {count}" for name, count in report.operators.items()]
    lines += ["", "operators: " + ", ".join(rows)]
    lines += ["", "passed" if report.passed else "refused: " + "; ".join(report.complaints)]
    return "\n".join(lines) + "\n"


def write_report(report: ExportReport, folder: Path, picture: NDArray[np.uint8]) -> None:
    """Write text, JSON and picture beside the model."""
    content = {**asdict(report), "passed": report.passed}
    write_atomically(folder / TEXT_FILE, report_text(report).encode())
    write_atomically(folder / JSON_FILE, (json.dumps(content, indent=1) + "\n").encode())
    ok, data = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not ok:
        raise OSError(f"cannot encode the picture of {picture.shape[1]}×{picture.shape[0]} px")
    write_atomically(folder / PICTURE_FILE, data.tobytes())


def side_by_side(bundle: ModelBundle, engines: Mapping[str, Engine], image_rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw what each engine says of one image, one below the other, with its name."""
    strips = []
    for name, engine in engines.items():
        frame = Stream(bundle, engine).step(image_rgb, stamp_ns=0)
        strip = np.full((_STRIP_PX, image_rgb.shape[1], 3), 255, np.uint8)
        cv2.putText(strip, name, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        strips += [strip, draw_overlay(image_rgb, frame, bundle.classes)]
    return np.vstack(strips)


def computed_precision(info: EngineInfo) -> str:
    """Return the precision an engine verified, with what runs it."""
    return f"{info.precision} ({info.provider}, {info.device})"


def _parity_line(name: str, parity: Parity) -> str:
    return (
        f"{name:<32}{parity.frames:>7}{parity.detections:>12}{parity.unmatched:>7}{parity.box_px:>9.1e}"
        f"{parity.score:>9.1e}{parity.mask_iou:>10.4f}{parity.embedding:>11.1e}{parity.semantic:>10.1e}"
    )


def _loss_lines(loss: Loss, max_loss: float) -> list[str]:
    def row(name: str, stq: float, aq: float, sq: float, pq: float) -> str:
        return f"{name:<32}{stq:>8.2f}{aq:>8.2f}{sq:>8.2f}{pq:>8.2f}"

    return [
        f"by {loss.against}, {loss.frames} frames",
        f"{'':<32}{'STQ':>8}{'AQ':>8}{'SQ':>8}{'PQ':>8}",
        row("torch", *_values(loss.reference)),
        row("this bundle", *_values(loss.other)),
        row("one by the other", *_values(loss.agreement)),
        f"lost: {loss.stq_points:.2f} points of STQ (limit {max_loss:g}), {loss.pq_points:.2f} of PQ",
    ]


def _values(scores: object) -> tuple[float, float, float, float]:
    values: dict[str, float] = vars(scores)
    return values["stq"], values["aq"], values["sq"], values["pq"]
