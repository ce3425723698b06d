"""The ``videocups`` command: a table of subcommands, each imported only when it is asked for."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from videocups import __version__

# name -> (module:function taking the remaining arguments and returning the exit status, one-line help)
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("videocups.pipeline.run_command:run", "from recordings to a model bundle: all of the commands below"),
    "ingest": ("videocups.bags.commands:ingest", "cut bags, videos or image folders into clips"),
    "bag": ("videocups.bags.commands:bag", "look at, cut, render, label or play a bag"),
    "render": ("videocups.synthetic.commands:render", "render a street world as a clip with exact truth"),
    "pretrain": ("videocups.pretrain.commands:pretrain", "learn a backbone from clips without labels"),
    "train": ("videocups.train.commands:train", "learn flow, depth and motion, or the panoptic network, from clips"),
    "selftrain": ("videocups.train.commands:selftrain", "train a panoptic checkpoint on with its own predictions"),
    "finetune": ("videocups.train.commands:finetune", "train a panoptic checkpoint on with other labels"),
    "predict": ("videocups.train.commands:predict", "predict clips with a checkpoint or a bundle"),
    "label": ("videocups.pipeline.commands:label", "make panoptic pseudo-labels of clips; goes on where it stopped"),
    "status": ("videocups.pipeline.commands:status", "show which labels are done, failed and stored"),
    "clean": ("videocups.pipeline.commands:clean", "remove what labels were made from; frames and labels stay"),
    "inspect": ("videocups.label.commands:inspect", "write a page that shows a clip, its cues and labels"),
    "film": ("videocups.clips.film:film", "draw clips with their labels as a video"),
    "evaluate": ("videocups.evaluate.commands:evaluate", "score predictions: STQ, AQ, SQ, PQ, VPQ"),
    "export": ("videocups.export.commands:export", "write a checkpoint as a model bundle, and prove it is the same"),
    "engine": ("videocups.export.commands:engine", "build a bundle's TensorRT engine, here or for other GPUs"),
    "bench": ("videocups.export.commands:bench", "time a bundle: pre, net, post, track, memory"),
    "standin": ("videocups.standin.commands:standin", "write the stand-in bundle: fixed weights, known answers"),
    "weights": ("videocups.semantics.commands:weights", "list, fetch and verify self-supervised weights"),
    "import-checkpoint": (
        "videocups.model.imports.commands:import_checkpoint",
        "make a checkpoint of detectron2's or CUPS' weights",
    ),
    "mapping": ("videocups.evaluate.commands:mapping", "show and edit the pseudo-class to class matching"),
}

FILE_ERRORS: dict[type[OSError], str] = {
    FileNotFoundError: "does not exist; check the path",
    PermissionError: "may not be read or written; check its owner and rights",
    IsADirectoryError: "is a folder; give a file",
    NotADirectoryError: "is a file where a folder is needed; give another path",
}


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand and return its exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"videocups {__version__}")
        return 0
    if arguments[0] not in COMMANDS:
        print(f"videocups: no command {arguments[0]!r}; 'videocups --help' lists them", file=sys.stderr)
        return 2
    return run(arguments[0], arguments[1:])


def run(name: str, arguments: list[str]) -> int:
    """Import and call the subcommand; expected errors become one sentence and exit status 1."""
    module_name, function_name = COMMANDS[name][0].split(":")
    try:
        return int(getattr(import_module(module_name), function_name)(arguments))
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("videocups"):
            raise  # a package of our own that is missing is a broken installation, not a missing extra
        sentence = f"needs the Python package '{error.name}', which is not installed here"
        remedy = "call .venv-training/bin/videocups of ./setup.sh, or bring it with pip install './training[train]'"
        print(f"videocups {name}: {sentence}; {remedy}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # who read the output has enough, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return 141
    except (OSError, ValueError) as error:
        print(f"videocups {name}: {sentence_of(error)}", file=sys.stderr)
        return 1
    except MemoryError as error:
        reason = f" ({error})" if str(error) else ""
        print(f"videocups {name}: the memory did not suffice{reason}; take less at once", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"videocups {name}: interrupted", file=sys.stderr)
        return 130


def sentence_of(error: OSError | ValueError) -> str:
    """Return what an error says, with a remedy where the system has spoken and not one of us."""
    for kind, remedy in FILE_ERRORS.items():
        if isinstance(error, kind) and error.errno is not None and error.filename is not None:
            return f"{error.filename} {remedy}"
    return str(error)


def usage() -> str:
    """Return the text of ``videocups --help``."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: videocups COMMAND [ARGUMENTS]",
            "",
            "From a vehicle's unlabeled recordings to a video panoptic model.",
            "",
            "commands:",
            *lines,
            "",
            "'videocups COMMAND --help' explains one.",
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
