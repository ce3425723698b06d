"""An evaluation as one HTML page: style, tables and pictures inline, so that the file can be mailed and kept."""

from __future__ import annotations

from html import escape
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from videocups.evaluate.diagnostics import ClassRow
from videocups.evaluate.pictures import Panel, panels
from videocups.evaluate.report_style import STYLE
from videocups.evaluate.results import (
    diagnostic_lines,
    extent,
    headline_lines,
    kind,
    label,
    notes,
    percent,
    split_name,
    to_json,
)
from videocups.evaluate.run import Evaluation
from videocups.evaluate.scores import SequenceRow
from videocups_core.clip import write_atomically
from videocups_core.types import ClassInfo

WORST_CLIPS = 5
_MANY_SEQUENCES = 40
_LEADS = ("stq", "aq", "sq", "miou", "pq", "vpq")
_HUES = {"IoU": "var(--accent)", "AQ": "var(--second)", "PQ": "var(--third)"}


def write_html(evaluation: Evaluation, path: Path) -> None:
    """Write the page, atomically."""
    write_atomically(path, to_html(evaluation).encode())


def to_html(evaluation: Evaluation) -> str:
    """Return the page. It refers to nothing outside itself."""
    sections = [
        _header(evaluation),
        _headline(evaluation),
        *(f'<p class="note">{escape(note[0].upper() + note[1:])}.</p>' for note in notes(evaluation)),
        _classes(evaluation),
        _confusion(evaluation),
        _matching(evaluation),
        _diagnostics(evaluation),
        _sequences(evaluation),
        _worst(evaluation),
        _footer(evaluation),
    ]
    title = escape(f"{evaluation.dataset.title}: {_lead(evaluation)}")
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style>"
    )
    body = "\n".join(sections)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body><main>\n{body}\n</main></body></html>\n'


def _lead(evaluation: Evaluation) -> str:
    score, value = next(iter(evaluation.scores.headline.items()))
    return f"{label(score)} {percent(value)}"


def _header(evaluation: Evaluation) -> str:
    request, dataset = evaluation.request, evaluation.dataset
    facts = (
        f"{extent(evaluation)}, split {split_name(evaluation)} · predictions "
        f"{request.prediction} ({evaluation.predictions.format}) · mapping {request.mapping}"
    )
    return f'<h1>{escape(dataset.title)}</h1>\n<p class="soft">{escape(facts)}</p>'


def _headline(evaluation: Evaluation) -> str:
    headline = evaluation.scores.headline
    leads = [score for score in headline if score in _LEADS]
    tiles = "".join(
        f'<div class="tile{" lead" if index == 0 else ""}"><span class="soft">{escape(label(score))}</span>'
        f"<b>{percent(headline[score])}</b></div>"
        for index, score in enumerate(leads)
    )
    details = "".join(
        f"<span>{escape(label(score))} <b>{percent(value)}</b></span>"
        for line in headline_lines(headline)
        for score, value in line
        if score not in leads
    )
    return f'<div class="tiles">{tiles}</div><div class="family">{details}</div>'


def _classes(evaluation: Evaluation) -> str:
    columns = ["IoU", "AQ", "PQ"] if evaluation.dataset.has_video_ids else ["IoU", "PQ"]
    color = {info.class_id: info for info in evaluation.dataset.classes}
    rows = sorted(evaluation.scores.per_class, key=lambda row: (-row.is_thing, -row.true_px))
    body = "".join(_class_row(row, color[row.class_id], columns, kind(evaluation, row.class_id)) for row in rows)
    head = "".join(f"<th>{name}</th>" for name in ("class", "", *columns))
    head += "".join(f'<th class="num">{name}</th>' for name in ("SQ", "RQ", "true px"))
    return _section(
        "Classes",
        "In percent. IoU: pixels, whatever object they belong to. AQ: how whole objects are followed through a "
        "sequence. PQ: segments of single frames. A dash: the class does not occur, or has no objects.",
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>",
    )


def _class_row(row: ClassRow, info: ClassInfo, columns: list[str], what: str) -> str:
    values = {"IoU": row.iou, "AQ": row.aq, "PQ": row.pq}
    bars = "".join(f"<td>{_bar(values[name], _HUES[name])}</td>" for name in columns)
    return (
        f"<tr{' class=unscored' if what.endswith('not scored') else ''}><td>{_swatch(info)}{escape(row.name)}</td>"
        f'<td><span class="tag">{what}</span></td>{bars}<td class="num">{percent(row.sq)}</td>'
        f'<td class="num">{percent(row.rq)}</td><td class="num">{row.true_px:,}</td></tr>'
    )


def _bar(value: float, hue: str) -> str:
    if isnan(value):
        return '<span class="soft">–</span>'
    return f'<div class="bar" style="--v:{value:.4f};--hue:{hue}"><i></i><span>{percent(value)}</span></div>'


def _swatch(info: ClassInfo) -> str:
    return f'<span class="swatch" style="background:rgb{info.color_rgb}"></span>'


def _confusion(evaluation: Evaluation) -> str:
    """One row a true class that occurs, one column a predicted class that occurs, cells in percent of the row."""
    confusion = evaluation.scores.confusion
    names = [*evaluation.mapping.class_names, "void"]
    rows = [c for c in range(len(names) - 1) if confusion[c].any()]
    columns = [c for c in range(len(names)) if confusion[:-1, c].any()]
    head = "".join(f"<th><span>{escape(names[c])}</span></th>" for c in columns)
    cells = {r: "".join(_cell(confusion[r], r, c, names) for c in columns) for r in rows}
    body = "".join(f"<tr><th>{escape(names[r])}</th>{cells[r]}</tr>" for r in rows)
    return _section(
        "Confusion",
        "Rows: what is there. Columns: what is predicted. Percent of the row's labeled pixels; blank is below 0.5.",
        f'<table class="matrix"><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>',
    )


def _cell(row: np.ndarray[Any, np.dtype[np.int64]], true_class: int, pred_class: int, names: list[str]) -> str:
    share = float(row[pred_class] / row.sum())
    hue = "var(--accent)" if true_class == pred_class else "var(--wrong)"
    text = f"{100 * share:.0f}" if share >= 0.005 else ""
    strong = ' class="strong"' if share >= 0.5 else ""
    title = f"{names[true_class]} predicted as {names[pred_class]}: {row[pred_class]:,} px"
    return f'<td{strong} style="--v:{share:.3f};--hue:{hue}" title="{escape(title)}">{text}</td>'


def _matching(evaluation: Evaluation) -> str:
    mapping = evaluation.mapping
    color = {info.class_id: info for info in evaluation.dataset.classes}
    rows = []
    for pseudo, target in enumerate(mapping.targets):
        overlap = mapping.overlap_px[pseudo] if mapping.overlap_px else ()
        size = sum(overlap)
        if not size and (mapping.overlap_px or mapping.methods[pseudo] == "none"):
            continue  # never predicted on a labeled pixel
        named = "void" if target == mapping.void else f"{_swatch(color[target])}{escape(mapping.class_names[target])}"
        share = overlap[target] / size if size and target != mapping.void else float("nan")
        what = "thing" if pseudo in mapping.pseudo_things else "stuff"
        rows.append(
            f'<tr><td class="num">{pseudo}</td><td><span class="tag">{what}</span></td><td>{named}</td>'
            f"<td>{escape(mapping.methods[pseudo])}</td><td>{_bar(share, 'var(--accent)')}</td>"
            f'<td class="num">{size:,}</td></tr>'
        )
    head = '<th class="num">predicted class</th><th></th><th>counts as</th><th>found by</th><th>pixels that agree</th>'
    return _section(
        "Matching",
        f"What each predicted class counts as. Fingerprint {mapping.fingerprint}. hungarian: one to one, by most "
        "shared pixels, things and stuff apart; overlap: left over, to the class it overlaps most.",
        f'<table><thead><tr>{head}<th class="num">labeled px</th></tr></thead><tbody>{"".join(rows)}</tbody></table>',
    )


def _diagnostics(evaluation: Evaluation) -> str:
    lines = diagnostic_lines(evaluation)
    if not lines:
        return ""
    cells = "".join(f"<span>{escape(name)} <b>{escape(value)}</b></span>" for name, value in lines)
    lead = (
        "In a frame an object is followed by the predicted object with IoU above 0.5. Mostly followed: in 80 % of its "
        "frames or more; mostly lost: in less than 20 %."
    )
    return f'<h2>Diagnostics</h2><p class="soft small">{escape(lead)}</p><div class="family">{cells}</div>'


def _ranked(evaluation: Evaluation) -> list[SequenceRow]:
    video = evaluation.dataset.has_video_ids
    return sorted(evaluation.scores.per_sequence, key=lambda row: np.nan_to_num(row.stq if video else row.pq))


def _sequences(evaluation: Evaluation) -> str:
    rows = _ranked(evaluation)
    video = evaluation.dataset.has_video_ids
    scores = ("STQ", "AQ", "SQ", "PQ") if video else ("PQ",)
    body = "".join(
        f'<tr><td>{escape(row.key)}</td><td class="num">{row.frames}</td>'
        + "".join(f'<td class="num">{percent(getattr(row, name.lower()))}</td>' for name in scores)
        + f'<td class="num">{percent(row.agreement)}</td></tr>'
        for row in rows[:_MANY_SEQUENCES]
    )
    head = "".join(f'<th class="num">{name}</th>' for name in ("frames", *scores, "right px"))
    shown = f" The {_MANY_SEQUENCES} worst of {len(rows)}." if len(rows) > _MANY_SEQUENCES else ""
    table = f"<table><thead><tr><th>sequence</th>{head}</tr></thead><tbody>{body}</tbody></table>"
    return _section("Sequences", f"Worst first, each scored on its own.{shown}", table)


def _worst(evaluation: Evaluation) -> str:
    blocks = [_clip(evaluation, row) for row in _ranked(evaluation)[:WORST_CLIPS]]
    legend = "".join(f"<span>{_swatch(info)}{escape(info.name)}</span>" for info in evaluation.dataset.classes)
    lead = (
        "The worst sequences, each at the frame with the fewest right pixels. Difference: red where the class is "
        "wrong, dark without truth."
    )
    return f'<h2>Where it goes wrong</h2><p class="soft small">{lead}</p><div class="legend">{legend}</div>' + "".join(
        blocks
    )


def _clip(evaluation: Evaluation, row: SequenceRow) -> str:
    job = evaluation.jobs[row.key]
    frame = job.sequence.frames[row.worst_frame]
    score = f"STQ {percent(row.stq)}" if evaluation.dataset.has_video_ids else f"PQ {percent(row.pq)}"
    figures = "".join(_figure(panel) for panel in panels(job, row.worst_frame, evaluation.mapping))
    where = "" if frame.name == row.key else f", frame {escape(frame.name)}"
    return (
        f'<div class="clip"><h3>{escape(row.key)} <span class="soft">{score}{where}</span></h3>'
        f'<div class="panels">{figures}</div></div>'
    )


def _figure(panel: Panel) -> str:
    caption = escape(panel.caption)
    return f'<figure><img alt="{caption}" src="{panel.data_uri}"><figcaption>{caption}</figcaption></figure>'


def _footer(evaluation: Evaluation) -> str:
    content = to_json(evaluation)
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    return f"<footer>{escape(content['created_utc'])} · {escape(versions)}</footer>"


def _section(title: str, lead: str, content: str) -> str:
    return f'<h2>{escape(title)}</h2><p class="soft small">{escape(lead)}</p><div class="card">{content}</div>'
