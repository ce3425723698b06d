"""``videocups pretrain``: learn a backbone from recordings alone."""

from __future__ import annotations

import argparse

EPILOG = """The run's folder is what 'features: {{kind: self-trained, checkpoint: DIR}}' of label.yaml takes, and what a
detector starts from. A run that was stopped goes on when the same command is given again.

settings (--config FILE, --set KEY=VALUE):
{settings}

Exit status: 0 done, 1 failed, 2 wrong usage."""


def pretrain(argv: list[str]) -> int:
    """Train and print where the checkpoint is."""
    from videocups.pretrain.config import PretrainConfig
    from videocups.train.config_file import add_run_arguments, read_config, setting_lines

    parser = argparse.ArgumentParser(
        prog="videocups pretrain",
        description="Learn a backbone from clips without labels: views and pixels that flow links teach each other.",
        epilog=EPILOG.format(settings=setting_lines(PretrainConfig())),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run_arguments(parser)
    options = parser.parse_args(argv)
    return run(options, read_config(PretrainConfig, options.config, options.set))


def run(options: argparse.Namespace, config: object) -> int:
    """Train with these settings."""
    from videocups.pretrain.config import PretrainConfig
    from videocups.pretrain.task import PretrainTask
    from videocups.progress import Progress, counted
    from videocups.train.loop import METRICS, choose_device, run_training
    from videocups_core.clip import find_clips

    assert isinstance(config, PretrainConfig)
    device = choose_device(options.device)
    task = PretrainTask([clip for folder in options.clips for clip in find_clips(folder)], config)
    data = f"{len(task.pairs)} pairs of {counted(len(task.pairs.clips), 'clip')}"
    print(f"{data}, {counted(task.steps, 'step')} on {device}", flush=True)
    with Progress("pretrain", total=task.steps, unit="steps") as progress:
        checkpoint = run_training(task, config.loop, options.out, device=device, on_step=progress.update)
    steps = f"{counted(checkpoint.step, 'step')}, {checkpoint.skipped_steps} skipped (not finite)"
    print(f"{checkpoint.folder}: {steps}; losses are in {options.out / METRICS}")
    return 0
