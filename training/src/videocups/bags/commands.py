"""The commands ``videocups ingest`` and ``videocups bag``: parse, call, print."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TypeAlias

from videocups.bags.arguments import finite

OK, FAILED, LOST = 0, 1, 3
EXIT_HELP = "Exit status: 0 all well, 1 failed, 2 wrong usage, 3 done but some of the recording is damaged and lost."


def ingest(arguments: list[str]) -> int:
    """Run ``videocups ingest``."""
    from videocups.bags.ingest_command import ingest_all, parser

    reports, errors = ingest_all(parser().parse_args(arguments))
    if reports:
        from videocups.clips.report import summary_table

        print(summary_table(reports))
    for error in errors:
        print(f"videocups ingest: {error}", file=sys.stderr)
    if errors:
        return FAILED
    return LOST if any(report.lost for report in reports) else OK


def bag(arguments: list[str]) -> int:
    """Run ``videocups bag``."""
    options = _bag_parser().parse_args(arguments)
    return int(options.run(options))


def _bag_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="videocups bag", description="Work with recordings.", epilog=EXIT_HELP)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_info, _add_cut, _add_render, _add_label, _add_play):
        add(commands)
    return parser


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _add_info(commands: Commands) -> None:
    command = commands.add_parser("info", help="topics, types, counts, rates, damage", epilog=EXIT_HELP)
    command.add_argument("bag", type=Path, help="a rosbag2 folder, a .mcap, .db3 or ROS 1 .bag file")
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")
    command.set_defaults(run=_info)


def _info(options: argparse.Namespace) -> int:
    from videocups.bags.info import describe, info_json, info_table

    info = describe(options.bag)
    print(info_json(info) if options.json else info_table(info))
    return LOST if info.damage else OK


def _add_cut(commands: Commands) -> None:
    command = commands.add_parser("cut", help="copy a time window or some topics, bytes untouched", epilog=EXIT_HELP)
    command.add_argument("bag", type=Path)
    command.add_argument("--out", type=Path, required=True, help="folder of the new bag")
    command.add_argument("--start", type=finite, metavar="S", help="seconds from the beginning, or since 1970")
    command.add_argument("--end", type=finite, metavar="S", help="same, exclusive")
    command.add_argument("--topics", nargs="+", metavar="T", help="topics to keep; default: all")
    command.add_argument("--storage", choices=("mcap", "db3"), default="mcap", help="default: %(default)s")
    command.set_defaults(run=_cut)


def _cut(options: argparse.Namespace) -> int:
    from videocups.bags.cut import cut_bag

    result = cut_bag(
        options.bag,
        options.out,
        start_s=options.start,
        end_s=options.end,
        topics=options.topics,
        storage=options.storage,
    )
    print(f"{options.out}: {result.messages} messages on {result.topics} topics")
    return _report_damage(result.damage)


def _add_render(commands: Commands) -> None:
    command = commands.add_parser("render", help="write a synthetic street as a bag with ground truth")
    command.add_argument("--out", type=Path, required=True, help="folder of the new bag")
    command.add_argument("--frames", type=int, default=60, help="default: %(default)s")
    command.add_argument("--seed", type=int, default=0, help="another number, another street; default: %(default)s")
    command.add_argument("--size", default="512x256", metavar="WxH", help="image size in px; default: %(default)s")
    command.add_argument("--fps", type=float, default=10.0, help="default: %(default)s")
    command.add_argument("--image", choices=("raw", "jpeg"), default="raw", help="default: %(default)s")
    command.add_argument("--encoding", default="rgb8", help="of raw images; default: %(default)s")
    command.add_argument("--quality", type=int, default=95, help="of JPEG images; default: %(default)s")
    command.add_argument("--stereo", action="store_true", help="also a right camera")
    command.add_argument("--clock", action="store_true", help="also /clock")
    command.add_argument("--no-truth", action="store_true", help="leave depth, class and track images out")
    command.add_argument("--storage", choices=("mcap", "db3"), default="mcap", help="default: %(default)s")
    command.set_defaults(run=_render)


def _render(options: argparse.Namespace) -> int:
    from videocups.bags.render import RenderOptions, render_bag

    render = RenderOptions(
        frames=options.frames,
        seed=options.seed,
        size=options.size,
        fps=options.fps,
        jpeg=options.image == "jpeg",
        encoding=options.encoding,
        quality=options.quality,
        stereo=options.stereo,
        clock=options.clock,
        truth=not options.no_truth,
    )
    messages = render_bag(options.out, render, storage=options.storage)
    print(f"{options.out}: {options.frames} frames, {messages} messages")
    return OK


def _add_label(commands: Commands) -> None:
    command = commands.add_parser("label", help="write a bag back with panoptic topics added", epilog=EXIT_HELP)
    command.add_argument("bag", type=Path)
    command.add_argument("--clips", type=Path, required=True, help="a labelled clip or a folder of them")
    command.add_argument("--out", type=Path, required=True, help="folder of the new bag")
    command.add_argument("--topic", help="image topic the labels belong to; default: the one the clips came from")
    command.add_argument("--kind", default="panoptic", help="which labels of the clip; default: %(default)s")
    command.add_argument("--namespace", default="/vps_node", help="of the new topics; default: %(default)s")
    command.add_argument("--model-id", default="pseudo-label", help="what the messages name; default: %(default)s")
    command.add_argument("--storage", choices=("mcap", "db3"), default="mcap", help="default: %(default)s")
    command.set_defaults(run=_label)


def _label(options: argparse.Namespace) -> int:
    from videocups.bags.label import LabelOptions, label_bag

    label = LabelOptions(topic=options.topic, kind=options.kind, namespace=options.namespace, model_id=options.model_id)
    result = label_bag(options.bag, options.clips, options.out, label, storage=options.storage)
    print(f"{options.out}: {result.labelled} of {result.images} images labelled, {result.messages} messages")
    return _report_damage(result.damage)


def _add_play(commands: Commands) -> None:
    command = commands.add_parser("play", help="replay a bag or a clip into a ROS graph (needs a sourced ROS)")
    command.add_argument("arguments", nargs=argparse.REMAINDER, help="passed on to replay_node")
    command.set_defaults(run=_play)


def _play(options: argparse.Namespace) -> int:
    from videocups.bags.play import play

    return play(options.arguments)


def _report_damage(damage: list[str]) -> int:
    for cause in damage:
        print(f"LOST: {cause}", file=sys.stderr)
    return LOST if damage else OK
