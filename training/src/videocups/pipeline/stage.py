"""What a stage is: a function on the artefacts of one item, with everything that decides its result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from videocups_core.config import config_hash

if TYPE_CHECKING:
    from videocups.pipeline.work import Work

Returned = Mapping[str, Any] | Iterable[tuple[str, int | None, Any]]
"""what a stage's function returns: see ``Stage``."""
Per = Literal["frame", "pair", "clip", "data"]
SOURCES = ("frames", "clip")
"""kinds that exist before any stage: the images, and ``clip.json``."""


@dataclass(frozen=True)
class Input:
    """What an item reads.

    ``offsets``: of the frames (or pairs) an item per frame or pair needs, relative to its own number; pair t joins
    frames t and t+1. Items per clip or data set read all there is. With ``need`` "any" one of them is enough, with
    "optional" none is needed: a clip's ends and failed neighbours are simply not there.
    """

    kind: str
    offsets: tuple[int, ...] = (0,)
    need: Literal["all", "any", "optional"] = "all"


@dataclass(frozen=True)
class Output:
    """What an item writes: ``kind``/``NNNNNN``+suffix for each frame or pair, else ``kind``+suffix.

    ``each_frame``: an item per clip writes a file for each frame (or pair).
    """

    kind: str
    suffix: Literal[".png", ".npz", ".json"]
    each_frame: bool = False


@dataclass(frozen=True)
class Stage:
    """One step of the way from clips to labels.

    ``run(work, config)`` returns a value for every output kind (where it has ``each_frame``, pairs of number and
    value), or yields (kind, number, value), one artefact at a time. ``version`` counts changes of the function that
    change its result. ``final`` artefacts are what the whole is for: they are never cleaned. ``gpus``: share of a GPU
    an item needs. ``loads``: modules that the function imports when it runs; workers have them before that.
    ``run_many(works, config)`` returns for several items what ``run`` returns for each, up to rounding, where a network
    is faster with ``batch`` of them in a call.
    """

    name: str
    per: Per
    run: Callable[[Work, Any], Returned]
    config: Any
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    version: int = 1
    final: bool = False
    gpus: float = 0.0
    loads: tuple[str, ...] = ()
    run_many: Callable[[Sequence[Work], Any], Sequence[Returned]] | None = None
    batch: int = 1

    def fingerprint(self) -> str:
        """Return what decides the result besides the inputs: name, version, settings."""
        return f"{self.name}/{self.version}/{config_hash(self.config)}"

    def output(self, kind: str) -> Output:
        """Return the output called ``kind``."""
        return next(output for output in self.outputs if output.kind == kind)


class Stages:
    """Stages in an order in which they can run."""

    def __init__(self, stages: Iterable[Stage]) -> None:
        self.all = tuple(stages)
        self.of_kind: dict[str, Stage] = {}
        self.by_name: dict[str, Stage] = {}
        for stage in self.all:
            self._add(stage)

    def _add(self, stage: Stage) -> None:
        if stage.name in self.by_name:
            raise ValueError(f"two stages are called {stage.name!r}; give one another name")
        for needed in stage.inputs:
            if needed.kind not in SOURCES and needed.kind not in self.of_kind:
                raise ValueError(f"stage {stage.name!r} reads {needed.kind!r}, which no stage before it writes")
        for output in stage.outputs:
            if output.kind in self.of_kind or output.kind in SOURCES:
                raise ValueError(f"stage {stage.name!r} writes {output.kind!r}, which another one writes already")
            self.of_kind[output.kind] = stage
        self.by_name[stage.name] = stage

    def upstream(self, stage: Stage) -> list[Stage]:
        """Return the stages that write what ``stage`` reads."""
        found = {self.of_kind[needed.kind].name for needed in stage.inputs if needed.kind not in SOURCES}
        return [other for other in self.all if other.name in found]

    def modules(self) -> list[str]:
        """Return the modules that the stages' functions are in and those they load later, each once."""
        found = [name for stage in self.all for name in (stage.run.__module__, *stage.loads)]
        return [name for name in dict.fromkeys(found) if name != "__main__"]

    def leads_to(self) -> dict[str, int]:
        """Return for every stage the number of the first stage of the whole data set that needs it, or one past all.

        Such a stage waits for all clips, and others for it.
        """
        leads_to = {stage.name: len(self.all) for stage in self.all}
        for number, stage in reversed(list(enumerate(self.all))):
            first = number if stage.per == "data" else leads_to[stage.name]
            for other in self.upstream(stage):
                leads_to[other.name] = min(leads_to[other.name], first)
        return leads_to

    def up_to(self, names: Sequence[str]) -> Stages:
        """Return the stages ``names`` and all they need."""
        for name in names:
            if name not in self.by_name:
                raise ValueError(f"there is no stage {name!r}; known are {', '.join(self.by_name)}")
        wanted = set(names)
        for stage in reversed(self.all):
            if stage.name in wanted:
                wanted |= {other.name for other in self.upstream(stage)}
        return Stages(stage for stage in self.all if stage.name in wanted)
