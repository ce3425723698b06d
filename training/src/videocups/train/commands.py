"""``videocups train``: learn flow or depth and motion from clips, without labels; panoptic video from their labels."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

USAGE = """usage: videocups train {flow,depth,panoptic} CLIPS [CLIPS ...] --out DIR [--config FILE]

  flow      optical flow: RAFT by SMURF's losses on pairs of frames, or a network that refines classical flow
  depth     depth, ego-motion, 3-D flow and motion masks: Dynamo-Depth, on triples of frames with intrinsics
  panoptic  the video panoptic network, on pairs of frames with the labels of 'videocups label'

'videocups train flow --help' explains one and lists its settings."""


def train(argv: list[str]) -> int:
    """Run the training named first."""
    trainings: dict[str, Callable[[list[str]], int]] = {
        "flow": train_flow,
        "depth": train_depth,
        "panoptic": train_panoptic,
    }
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if argv else 2
    if argv[0] not in trainings:
        raise ValueError(f"there is no training {argv[0]!r}; known are {', '.join(trainings)}")
    return trainings[argv[0]](argv[1:])


def train_flow(argv: list[str]) -> int:
    """Train flow and print where its checkpoint is."""
    from videocups.cues.learned.flow_kinds import FLOW_CONFIGS, flow_task
    from videocups.train.config_file import named_kind
    from videocups_core.config import to_mapping

    settings = FLOW_CONFIGS[named_kind(argv, FLOW_CONFIGS, "smurf")]
    options, config = _parse("train flow", settings, argv, base=to_mapping(settings()))
    return _run(flow_task(_clips(options.clips), config), config.loop, options)


def train_depth(argv: list[str]) -> int:
    """Train depth and motion and print where the checkpoint is."""
    from videocups.cues.dynamo.config import DynamoConfig

    options, config = _parse("train depth", DynamoConfig, argv)
    from videocups.cues.dynamo.training import HINTS, DynamoTask

    return _run(DynamoTask(_clips(options.clips), config, options.out / HINTS), config.loop, options)


def train_panoptic(argv: list[str]) -> int:
    """Train the panoptic network and print where its checkpoint is."""
    from videocups.train.panoptic_config import PanopticTraining

    options, config = _parse("train panoptic", PanopticTraining, argv)
    from videocups.train.panoptic_task import PanopticTask

    return _run(PanopticTask(_clips(options.clips), config), config.loop, options)


def selftrain(argv: list[str]) -> int:
    """Go on from a checkpoint with labels of its own making."""
    from videocups.train.panoptic_config import SelfTraining

    options, config = _parse("selftrain", SelfTraining, argv, checkpoint="where to begin")
    from videocups.train.self_training import SelfTask

    return _run(SelfTask(options.checkpoint, _clips(options.clips), config), config.loop, options)


def finetune(argv: list[str]) -> int:
    """Go on from a checkpoint with other labels, whose classes may differ."""
    from videocups.train.panoptic_config import PanopticTraining

    options, config = _parse("finetune", PanopticTraining, argv, checkpoint="where to begin")
    from dataclasses import replace

    from videocups.train.panoptic_task import PanopticTask
    from videocups.train.starting import model_of

    started = replace(config, init=options.checkpoint, model=model_of(options.checkpoint))
    task = PanopticTask(_clips(options.clips), started)
    print(f"begins with {task.started}")
    return _run(task, config.loop, options)


def predict(argv: list[str]) -> int:
    """Predict clips with a checkpoint or a bundle."""
    options = _predict_parser().parse_args(argv)
    from videocups.progress import Progress, counted
    from videocups.train.predict import named_clips, open_stream, origin_of, predict_clips
    from videocups_core.clip import read_clip_info
    from videocups_core.panoptic.merge import MergeConfig

    clips = named_clips(options.clips)
    merge = None if options.score is None else MergeConfig(score_threshold=options.score)
    stream = open_stream(options.model, options.device, size_hw=options.size, merge=merge)
    origin = origin_of(options.model, options.size, options.score)
    total = sum(len(read_clip_info(folder)) for folder, _ in clips)
    with Progress("predict", total=total, unit="frames") as progress:
        frames = predict_clips(stream, clips, options.out, progress.advance, origin)
    made = f"{counted(frames, 'frame')} of {counted(len(clips), 'clip')}"
    print(f"{options.out}: {made}, on {stream.engine.describe().device}")
    return 0


def _predict_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="videocups predict",
        description="Predict clips with a checkpoint or a bundle, into DIR/CLIP/panoptic; clips that are there stay.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="checkpoint, folder of a run, or model bundle")
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIPS", help="clips, or folders of clips")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the predictions")
    parser.add_argument("--score", type=float, metavar="S", help="detections with a lower score are left out")
    parser.add_argument("--size", type=_size, metavar="HxW", help="input size of a checkpoint; default: as trained")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N; default: %(default)s")
    return parser


def _size(text: str) -> tuple[int, int]:
    height, separator, width = text.partition("x")
    if not separator or not height.isdigit() or not width.isdigit() or int(height) % 32 or int(width) % 32:
        raise argparse.ArgumentTypeError(f"must be height x width in multiples of 32, such as 256x512, got {text!r}")
    return int(height), int(width)


def _parse(
    name: str,
    kind: type[Any],
    argv: list[str],
    *,
    checkpoint: str | None = None,
    base: Mapping[str, Any] | None = None,
) -> tuple[argparse.Namespace, Any]:
    from videocups.train.config_file import add_run_arguments, read_config, setting_lines

    parser = argparse.ArgumentParser(
        prog=f"videocups {name}",
        description="A run that was stopped goes on when the same command is given again.",
        epilog=f"settings (--config FILE, --set KEY=VALUE):\n{setting_lines(kind())}\n\nExit status: 0 done, 1 failed.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if checkpoint is not None:
        parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help=checkpoint)
    add_run_arguments(parser)
    options = parser.parse_args(argv)
    if checkpoint is not None:
        from videocups.train.starting import settings_to_go_on

        base = settings_to_go_on(options.checkpoint)
    return options, read_config(kind, options.config, options.set, base)


def _clips(folders: Sequence[Path]) -> list[Path]:
    from videocups_core.clip import find_clips

    return [clip for folder in folders for clip in find_clips(folder)]


def _run(task: Any, loop: Any, options: argparse.Namespace) -> int:
    from videocups.progress import Progress, counted
    from videocups.train.distributed import joined, ranks
    from videocups.train.loop import METRICS, choose_device, run_training

    with joined(choose_device(options.device)) as device:
        leads = ranks().leads
        if leads:
            processes = f", {ranks().world} processes" if ranks().world > 1 else ""
            data = f"{len(task.windows)} windows of {counted(len(task.windows.clips), 'clip')}"
            left_out = getattr(task.windows, "left_out", 0)
            if left_out:
                data += f" ({left_out} more without labels or objects left out)"
            print(f"{data}, {counted(task.steps, 'step')} on {device}{processes}", flush=True)
        stream = None if leads else io.StringIO()
        with Progress(task.kind, total=task.steps, unit="steps", stream=stream) as progress:
            checkpoint = run_training(task, loop, options.out, device=device, on_step=progress.update)
        if leads:
            steps = f"{counted(checkpoint.step, 'step')}, {checkpoint.skipped_steps} skipped (not finite)"
            print(f"{checkpoint.folder}: {steps}; losses are in {options.out / METRICS}")
    return 0
