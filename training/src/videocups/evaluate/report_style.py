"""The look of the report page: one style sheet, light and dark, nothing fetched."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --page: #fafaf8; --card: #ffffff; --ink: #1c1f24; --soft: #5d636d; --line: #e3e3df; --track: #ececea;
  --accent: #2563c9; --second: #0f8a7e; --third: #8a5cc7; --wrong: #d0402b; --note: #fdf5e0; --note-line: #e7cf8f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14161a; --card: #1c1f25; --ink: #e9eaec; --soft: #a0a7b2; --line: #2e333c; --track: #2a2f37;
    --accent: #7fabf7; --second: #4cc3b5; --third: #bd99ee; --wrong: #f07a63; --note: #2b2616; --note-line: #5d5126;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 27px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -.01em; }
h2 { font-size: 18px; margin: 44px 0 4px; }
p { margin: 4px 0; }
.soft { color: var(--soft); }
.small { font-size: 13px; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 22px 0 8px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 12px 16px; min-width: 112px; }
.tile.lead { border-color: var(--accent); flex-grow: 1; }
.tile b { display: block; font-size: 30px; line-height: 1.15; font-variant-numeric: tabular-nums;
  letter-spacing: -.02em; }
.tile.lead b { font-size: 44px; color: var(--accent); }
.family { display: flex; flex-wrap: wrap; gap: 4px 22px; color: var(--soft); font-size: 14px; }
.family b { color: var(--ink); font-variant-numeric: tabular-nums; }
.note { background: var(--note); border: 1px solid var(--note-line); border-radius: 8px; padding: 8px 14px;
  margin: 8px 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 6px 16px;
  margin-top: 10px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 13px; padding: 7px 18px 7px 0;
  white-space: nowrap; }
td { padding: 5px 18px 5px 0; border-top: 1px solid var(--line); white-space: nowrap; }
td.num, th.num { text-align: right; font-variant-numeric: tabular-nums; }
tr.unscored td { color: var(--soft); }
.swatch { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 8px;
  box-shadow: inset 0 0 0 1px rgba(128, 128, 128, .45); }
.bar { display: flex; align-items: center; gap: 8px; min-width: 150px; }
.bar i { flex: 1; height: 9px; border-radius: 5px; background: var(--track); overflow: hidden; }
.bar i::before { content: ""; display: block; height: 100%; width: calc(var(--v) * 100%); background: var(--hue); }
.bar span { width: 40px; text-align: right; font-variant-numeric: tabular-nums; }
.tag { font-size: 12px; color: var(--soft); border: 1px solid var(--line); border-radius: 20px; padding: 1px 8px; }
.matrix { width: auto; font-size: 12px; font-variant-numeric: tabular-nums; }
.matrix th, .matrix td { padding: 0; border: 0; }
.matrix thead th { height: 118px; vertical-align: bottom; }
.matrix thead th span { writing-mode: vertical-rl; transform: rotate(180deg); padding: 4px 0 0; }
.matrix tbody th { text-align: right; padding-right: 8px; }
.matrix td { width: 36px; height: 27px; text-align: center; border: 1px solid var(--page); color: var(--ink);
  background: color-mix(in srgb, var(--hue) calc(var(--v) * 100%), var(--track)); }
.matrix td.strong { color: var(--card); }
.clip { margin-top: 18px; }
.clip h3 { font-size: 15px; margin: 0 0 6px; font-weight: 600; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(240px, 1fr)); gap: 10px; }
figure { margin: 0; }
figure img { width: 100%; display: block; border-radius: 6px; }
figcaption { color: var(--soft); font-size: 12.5px; margin-top: 3px; }
.legend { display: flex; flex-wrap: wrap; gap: 3px 16px; font-size: 13px; margin: 8px 0 0; }
footer { margin-top: 48px; color: var(--soft); font-size: 13px; border-top: 1px solid var(--line); padding-top: 12px; }
@media print { .card { break-inside: avoid; } }
"""
