"""Which true class each predicted class means: matched by overlap, taken as it is, or read from a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from videocups.evaluate.class_mapping import ClassMapping
from videocups.evaluate.counting import SequenceCounts
from videocups.evaluate.datasets import Dataset
from videocups.evaluate.matching import match_classes
from videocups.evaluate.predictions import Predictions
from videocups_core.types import ClassInfo

AUTO, IDENTITY = "auto", "identity"


@dataclass(frozen=True)
class PredictedClasses:
    """What is known of the predicted classes.

    ``count``: ids are below it. ``used``: ids that occur. ``names``: as the prediction tells, empty if it does not.
    """

    count: int
    used: frozenset[int]
    things: frozenset[int]
    names: dict[int, str]


def choose_mapping(
    wanted: str, dataset: Dataset, predictions: Predictions, counts: Iterable[SequenceCounts]
) -> ClassMapping:
    """Return the mapping for ``auto``, ``identity`` or the file ``wanted``."""
    counts = list(counts)
    predicted = predicted_classes(predictions.classes, counts, dataset.void)
    if wanted == AUTO:
        if predictions.format == "coco" and not predictions.kinds_told:
            raise ValueError(
                "--mapping auto must know which predicted classes are things; add 'isthing' to every category of the "
                "panoptic JSON, or to every segment"
            )
        return match(dataset, predicted, overlap_matrix(counts, predicted.count, dataset))
    if wanted == IDENTITY:
        coco = predictions.format == "coco"  # its numbers are the dataset's own, as in an official submission
        return identity(dataset, predicted, dataset.raw_to_class if coco else dataset.class_of_number)
    mapping = load_mapping(wanted, dataset)
    if strange := sorted(c for c in predicted.used if c >= mapping.num_pseudo):
        raise ValueError(
            f"mapping {wanted} is for {mapping.num_pseudo} pseudo-classes, but the predictions use class {strange[0]}; "
            "use the mapping of this model"
        )
    return mapping


def load_mapping(wanted: str, dataset: Dataset) -> ClassMapping:
    """Return the mapping of a file; errors where there is none, or where it is for other classes."""
    if not Path(wanted).is_file():
        raise FileNotFoundError(f"--mapping must be auto, identity or a mapping file; there is no file {wanted}")
    mapping = ClassMapping.load(Path(wanted))
    names = class_names(dataset)
    if mapping.class_names != names:
        raise ValueError(
            f"mapping {wanted} is for the classes {', '.join(mapping.class_names)}; dataset {dataset.name} has "
            f"{', '.join(names)}"
        )
    return mapping


def predicted_classes(
    told: tuple[ClassInfo, ...] | None, counts: Iterable[SequenceCounts], void: int
) -> PredictedClasses:
    """Return the predicted classes: as the prediction tells, else things are those with ids on most of their pixels."""
    pixels: dict[int, tuple[int, int]] = {}
    for sequence in counts:
        for class_id, (everything, with_id) in sequence.predicted_px.items():
            before = pixels.get(class_id, (0, 0))
            pixels[class_id] = (before[0] + everything, before[1] + with_id)
    pixels.pop(void, None)
    listed = {info.class_id: info for info in told or ()}
    if told and (unlisted := sorted(set(pixels) - set(listed))):
        raise ValueError(f"the predictions use class {unlisted[0]}, which their own class table does not list")
    with_ids = {class_id for class_id, (everything, with_id) in pixels.items() if 2 * with_id > everything}
    things = {class_id for class_id, info in listed.items() if info.is_thing} if told else with_ids
    count = max([*pixels, *listed, 0]) + 1
    names = {class_id: info.name for class_id, info in listed.items()}
    return PredictedClasses(count, frozenset(pixels), frozenset(things), names)


def class_names(dataset: Dataset) -> tuple[str, ...]:
    """Return the class names of a dataset in the order of their ids."""
    return tuple(info.name for info in dataset.classes)


def overlap_matrix(counts: Iterable[SequenceCounts], num_pseudo: int, dataset: Dataset) -> NDArray[np.int64]:
    """Return (num_pseudo + 1, num_classes) shared pixels; the last row is predicted void."""
    total = np.zeros((num_pseudo + 1, dataset.num_classes), dtype=np.int64)
    for sequence in counts:
        for (pred_class, true_class), pixels in sequence.overlap_px.items():
            if true_class != dataset.void:
                total[num_pseudo if pred_class == dataset.void else pred_class, true_class] += pixels
    return total


def match(dataset: Dataset, predicted: PredictedClasses, overlap_px: NDArray[np.int64]) -> ClassMapping:
    """Match by overlap, among the classes that occur in the truth: a match with an absent class could only harm."""
    present = [c for c in sorted(dataset.scored) if overlap_px[:, c].any()]
    true_things = frozenset(info.class_id for info in dataset.classes if info.is_thing)
    found = match_classes(
        overlap_px[:-1, present],
        pseudo_things=predicted.things,
        things=[index for index, c in enumerate(present) if c in true_things],
        void=dataset.void,
    )
    names = class_names(dataset)
    targets = tuple(target if target == dataset.void else present[target] for target in found.targets)
    return replace(
        found,
        targets=targets,
        pseudo_names=tuple("void" if target == dataset.void else names[target] for target in targets),
        class_names=names,
        things=true_things,
        overlap_px=tuple(tuple(row) for row in overlap_px[:-1].tolist()),
    )


def identity(dataset: Dataset, predicted: PredictedClasses, class_of_number: Mapping[int, int]) -> ClassMapping:
    """Take predicted classes for what they are: by name where all names are known, by number where none is."""
    known = {p: dataset.class_of_name[name] for p, name in predicted.names.items() if name in dataset.class_of_name}
    if known and len(known) < len(predicted.names):
        strange = sorted(set(predicted.names.values()) - set(dataset.class_of_name))
        raise ValueError(
            f"the predictions have classes that {dataset.name} does not know: {', '.join(strange[:8])}; "
            "rename them, or use --mapping auto or a mapping file"
        )
    table = known or class_of_number
    if outside := sorted(predicted.used - set(table)):
        raise ValueError(
            f"predicted class {outside[0]} is no class of {dataset.name} (0..{dataset.num_classes - 1}); an "
            "unsupervised model needs --mapping auto or a mapping file"
        )
    true_things = frozenset(info.class_id for info in dataset.classes if info.is_thing)
    targets = tuple(table.get(p, dataset.void) for p in range(predicted.count))
    names = class_names(dataset)
    return ClassMapping(
        targets=targets,
        methods=tuple("none" if target == dataset.void else "identity" for target in targets),
        pseudo_names=tuple("void" if target == dataset.void else names[target] for target in targets),
        class_names=names,
        pseudo_things=frozenset(p for p, target in enumerate(targets) if target in true_things),
        things=true_things,
        void=dataset.void,
    )
