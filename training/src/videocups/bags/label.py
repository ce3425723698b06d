"""Write a recording back with the panoptic topics of the node added, from labelled clips."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videocups.bags.camera_info import image_topics
from videocups.bags.cut import check_ros2
from videocups.bags.messages import IMAGE, MessageError, decode, stamp_ns
from videocups.bags.panoptic_messages import image_message, label_message, panoptic_message
from videocups.bags.reader import Bag, open_bag
from videocups.bags.recording import BagError, Message
from videocups.bags.writer import BagWriter, new_bag
from videocups.clips.store import ORIGIN_FILE
from videocups.progress import Progress
from videocups_core.clip import find_clips, read_clip_info
from videocups_core.panoptic.storage import PanopticClip
from videocups_core.types import ClassInfo, PanopticFrame

NS = 1_000_000_000


@dataclass(frozen=True)
class LabelOptions:
    """Which labels go where."""

    topic: str | None = None
    kind: str = "panoptic"
    namespace: str = "/vps_node"
    model_id: str = "pseudo-label"


@dataclass(frozen=True)
class LabelResult:
    """What was written."""

    images: int
    labelled: int
    messages: int
    damage: list[str]


class Labels:
    """The labels of one or several clips, found by stamp."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._at: dict[int, tuple[PanopticClip, int]] = {}
        self.classes: tuple[ClassInfo, ...] = ()
        self.topics: set[str] = set()
        for clip_folder in find_clips(folder):
            if not (clip_folder / kind).is_dir():
                continue
            _check_not_warped(clip_folder)
            clip = PanopticClip(clip_folder, kind=kind)
            if self.classes and clip.classes != self.classes:
                raise BagError(f"{clip_folder} has other classes than the clips before it; label them with one model")
            self.classes = clip.classes
            source = read_clip_info(clip_folder).source
            self.topics |= {source.topic} if source and source.topic else set()
            self._at |= {stamp: (clip, index) for index, stamp in enumerate(clip.stamps_ns)}
        if not self._at:
            raise BagError(f"{folder} holds no labels called {kind!r}; label the clips first, or give --kind")

    def at(self, stamp: int, log_ns: int) -> PanopticFrame | None:
        """Return the labels of the image with this header stamp (or recording time, where clips were made by it)."""
        found = self._at.get(stamp) or self._at.get(log_ns)
        return found[0].frame(found[1]) if found else None


def label_bag(path: Path, clips: Path, out: Path, options: LabelOptions, *, storage: str = "mcap") -> LabelResult:
    """Copy a recording and add ``panoptic/image``, ``panoptic/segments``, ``semantic/image`` and ``labels``."""
    labels = Labels(clips, options.kind)
    with open_bag(path) as bag:
        check_ros2(bag)
        topic = _image_topic(bag, options.topic, labels)
        _check_free(bag, options.namespace)
        first_ns, last_ns = bag.start_ns or 0, bag.last_ns or 0
        total_s = (last_ns - first_ns) / NS
        with (
            new_bag(out, storage=storage) as writer,
            Progress("label", total=total_s, unit="s of recording") as progress,
        ):
            writing = _Writing(writer, labels, options)
            for message in bag.messages({topic.name for topic in bag.topics}):
                writer.copy(message)
                if message.topic.name == topic:
                    writing.add(message)
                progress.update((message.log_ns - first_ns) / NS)
            if not writing.labelled:
                raise BagError(f"no image on {topic} of {path} has a stamp of {clips}; give clips of this recording")
        return LabelResult(writing.images, writing.labelled, writer.count, bag.damage.causes)


class _Writing:
    """Count and write what belongs to each image."""

    def __init__(self, writer: BagWriter, labels: Labels, options: LabelOptions) -> None:
        self._writer, self._labels, self._options = writer, labels, options
        self._namespace = "/" + options.namespace.strip("/")
        self.images = 0
        self.labelled = 0

    def add(self, message: Message) -> None:
        """Write the labels of one image, at its recording time and with its header."""
        self.images += 1
        try:
            image = decode(message)
        except MessageError:
            return  # copied as it is, and nothing is known of it
        frame = self._labels.at(stamp_ns(image), message.log_ns)
        if frame is None:
            return
        if message.topic.msgtype == IMAGE and (image.height, image.width) != (frame.height, frame.width):
            raise BagError(
                f"the labels are {frame.width}×{frame.height} px but the images on {message.topic.name} are "
                f"{image.width}×{image.height}; give the topic the clips came from with --topic"
            )
        if not self.labelled:
            self._put("labels", message.log_ns, self._label_info(message.log_ns), latched=True)
        header = image.header  # stamp and frame_id go through untouched
        model_id = self._options.model_id
        segments = panoptic_message(header, frame, model_id=model_id, frame_index=self.labelled)
        self._put("panoptic/image", message.log_ns, image_message(header, frame.segment_ids))
        self._put("panoptic/segments", message.log_ns, segments)
        self._put("semantic/image", message.log_ns, image_message(header, frame.class_map()))
        self.labelled += 1

    def _label_info(self, log_ns: int) -> Any:
        return label_message(log_ns, self._labels.classes, model_id=self._options.model_id)

    def _put(self, name: str, log_ns: int, message: Any, *, latched: bool = False) -> None:
        self._writer.write(f"{self._namespace}/{name}", log_ns, message, latched=latched)


def _image_topic(bag: Bag, wanted: str | None, labels: Labels) -> str:
    """Return the topic that was named, else the one the clips came from, else the only one."""
    there = image_topics(bag)
    candidates = [wanted] if wanted else [name for name in there if name in labels.topics] or there
    if wanted and wanted not in there:
        raise BagError(f"{bag.path} has no image topic {wanted!r}; it has: {', '.join(there) or 'none'}")
    if len(candidates) != 1:
        raise BagError(f"choose the image topic with --topic: {', '.join(candidates) or 'the bag has none'}")
    return candidates[0]


def _check_free(bag: Bag, namespace: str) -> None:
    prefix = "/" + namespace.strip("/") + "/"
    taken = [topic.name for topic in bag.topics if topic.name.startswith(prefix)]
    if taken:
        raise BagError(f"{bag.path} has {taken[0]} already; give another --namespace")


def _check_not_warped(clip_folder: Path) -> None:
    origin = clip_folder / ORIGIN_FILE
    if origin.is_file() and json.loads(origin.read_text())["options"]["store"]["undistort"]:
        raise BagError(
            f"{clip_folder} was undistorted, so its labels do not lie on the bag's images; ingest without --undistort"
        )
