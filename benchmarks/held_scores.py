"""How good predicted clips are against truth: STQ, AQ, SQ, and how many standing and moving vehicles were found.

Used by training_ablation.py and label_efficiency.py. Truth are clips with ``truth/`` (rendered worlds, or labelled
streets); the moving tracks of each frame stand in truth.json or clip.json.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from videocups.evaluate.run import Request, evaluate_predictions
from videocups.train.predict import named_clips
from videocups_core.clip import find_clips
from videocups_core.panoptic.storage import PanopticClip

VEHICLES = ("car", "truck", "bus")
MIN_AREA_PX = 150
"""smaller vehicles (of 512×256 px) are not asked for"""


@dataclass(frozen=True)
class HeldScores:
    """Scores in percent. ``parked`` and ``moving``: share of vehicles found (any thing class, IoU over .5)."""

    stq: float
    aq: float
    sq: float
    parked: float
    moving: float
    precision: float


def score(prediction: Path, truth: Path) -> HeldScores:
    """Score a folder of predicted clips against the clips below ``truth``."""
    dataset = "rendered" if all((clip / "truth" / "truth.json").is_file() for clip in find_clips(truth)) else "streets"
    headline = evaluate_predictions(Request(prediction, truth, dataset, resize=True, workers=1)).scores.headline
    found = np.sum([_counts(prediction / name, clip) for clip, name in named_clips([truth])], axis=0)
    parked, moving, right = (100 * hit / max(asked, 1) for hit, asked in found)
    values = (*(100 * headline[name] for name in ("stq", "aq", "sq")), parked, moving, right)
    return HeldScores(*map(float, values))


def kept_score(prediction: Path, truth: Path, file: Path) -> HeldScores:
    """Score once and keep the result in ``file``."""
    if not file.is_file():
        file.write_text(json.dumps(asdict(score(prediction, truth)), indent=1) + "\n")
    return HeldScores(**json.loads(file.read_text()))


def _counts(prediction: Path, clip: Path) -> np.ndarray:
    """Return (found, asked) of parked and of moving vehicles, and (right, all) of the predicted things."""
    table = json.loads((clip / "truth" / "truth.json").read_text()) if (clip / "truth" / "truth.json").is_file() else {}
    table = table or json.loads((clip / "clip.json").read_text())
    vehicles = [int(key) for key, name in table["classes"].items() if name in VEHICLES]
    frames = PanopticClip(prediction)
    counts = np.zeros((3, 2), np.int64)
    for index in range(len(frames)):
        name = f"{index:06d}.png"
        classes = cv2.imread(str(clip / "truth" / "class" / name), cv2.IMREAD_UNCHANGED)
        tracks = cv2.imread(str(clip / "truth" / "track" / name), cv2.IMREAD_UNCHANGED).astype(np.int64)
        moving = np.isin(tracks, table["moving_tracks"].get(str(index), []))
        truth = np.where(np.isin(classes, vehicles), tracks, 0)
        frame = frames.frame(index)
        things = [row.segment_id for row in frame.segments if row.is_thing and row.area_px > 0]
        counts += _frame_counts(truth, moving, tracks, frame.segment_ids, things)
    return counts


def _frame_counts(truth, moving, tracks, segment_ids, things) -> np.ndarray:
    counts = np.zeros((3, 2), np.int64)
    ids, areas = np.unique(truth[truth > 0], return_counts=True)
    for track, area in zip(ids.tolist(), areas.tolist(), strict=True):
        if area < MIN_AREA_PX:
            continue
        mask = truth == track
        row = 1 if moving[mask].any() else 0
        counts[row] += [_best_iou(mask, segment_ids, things) > 0.5, 1]
    for thing in things:
        mask = segment_ids == thing
        if mask.sum() >= MIN_AREA_PX:
            counts[2] += [_best_iou(mask, tracks, np.unique(tracks[tracks > 0]).tolist()) > 0.5, 1]
    return counts


def _best_iou(mask: np.ndarray, ids: np.ndarray, candidates: list[int]) -> float:
    inside = np.bincount(ids[mask].astype(np.int64))
    inside = inside[: max(candidates, default=0) + 1]
    best = 0.0
    for candidate in candidates:
        if candidate < len(inside) and inside[candidate]:
            union = mask.sum() + (ids == candidate).sum() - inside[candidate]
            best = max(best, inside[candidate] / union)
    return best
