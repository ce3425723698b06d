"""The arguments of ``videocups ingest``, and which source they mean."""

from __future__ import annotations

import argparse
from pathlib import Path

from videocups.bags.arguments import above_zero, count, finite, not_negative
from videocups.bags.commands import EXIT_HELP
from videocups.bags.image_source import BagImages, BagOptions
from videocups.bags.reader import is_bag
from videocups.bags.recording import BagError
from videocups.clips.cutting import CutConfig
from videocups.clips.frames import FrameSource, SourceError
from videocups.clips.image_folder import FolderOptions, ImageFolder
from videocups.clips.ingest import StoreConfig, ingest
from videocups.clips.report import IngestReport
from videocups.clips.video import VIDEO_SUFFIXES, Video


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``videocups ingest``."""
    parser = argparse.ArgumentParser(
        prog="videocups ingest", description="Cut bags, videos or folders of images into clips.", epilog=EXIT_HELP
    )
    parser.add_argument("sources", nargs="+", type=Path, metavar="SOURCE", help="bag, video or folder of images")
    parser.add_argument("--out", type=Path, required=True, metavar="CLIPS", help="folder the clips go to")
    parser.add_argument("--name", default="", help="what clips are called, before _0000; default: source and camera")
    parser.add_argument("--calibration", type=Path, metavar="FILE", help="KITTI, ROS camera_calibration, or plain K")
    parser.add_argument(
        "--baseline", type=above_zero, metavar="M", help="of a stereo pair; default: from the calibration"
    )
    parser.add_argument("--start", type=finite, metavar="S", help="seconds from the beginning (bags: or since 1970)")
    parser.add_argument("--end", type=finite, metavar="S", help="same, exclusive")
    parser.add_argument("--overwrite", action="store_true", help="replace clips made with other options")
    parser.add_argument("--threads", type=count, default=0, metavar="N", help="default: the number of cores, at most 4")
    _add_bag_arguments(parser.add_argument_group("bags"))
    _add_folder_arguments(parser.add_argument_group("videos and folders of images"))
    _add_cut_arguments(parser.add_argument_group("clips"))
    return parser


def _add_bag_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--topic", metavar="T", help="image topic; may be left out where there is only one")
    group.add_argument("--camera-info-topic", metavar="T", help="default: found beside the image topic")
    group.add_argument("--stereo-topic", metavar="T", help="image topic of the right camera")
    group.add_argument("--stereo-camera-info-topic", metavar="T", help="default: found beside the stereo topic")
    group.add_argument("--stereo-tolerance", type=not_negative, default=0.005, metavar="S", help="default: %(default)s")
    group.add_argument("--odometry-topic", metavar="T", help="Odometry or TwistStamped: the vehicle's speed")
    group.add_argument("--recorded-stamps", action="store_true", help="use recording times, not header stamps")


def _add_folder_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--fps", type=finite, help="frames per second, where there are no stamps")
    group.add_argument("--stamps", type=Path, metavar="FILE", help="a line per image: seconds, ns or KITTI dates")
    group.add_argument("--stereo-folder", type=Path, metavar="DIR", help="images of the right camera, same names")


def _add_cut_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--clip-length", default="10s", metavar="N|Ns", help="frames, or seconds with s; default: 10s")
    group.add_argument("--max-gap", type=finite, metavar="S", help="a longer pause ends a clip; default: 0.5")
    group.add_argument("--min-frames", type=int, default=1, metavar="N", help="drop shorter clips; default: 1")
    group.add_argument("--rate", type=finite, metavar="HZ", help="keep at most so many frames a second")
    group.add_argument(
        "--min-motion",
        type=finite,
        default=0.0,
        metavar="G",
        help="drop frames whose mean grey change is below G (0-255)",
    )
    group.add_argument("--undistort", action="store_true", help="take lens distortion out, rectify stereo pairs")
    group.add_argument("--quality", type=int, default=95, metavar="Q", help="JPEG quality; default: %(default)s")
    group.add_argument("--png", action="store_true", help="store without loss")


def ingest_all(options: argparse.Namespace) -> tuple[list[IngestReport], list[str]]:
    """Ingest every source; one that fails does not stop the others. Returns reports and errors."""
    cut, keep = cut_config(options), store_config(options)
    if options.name and len(options.sources) > 1:
        raise SourceError("--name is for one source; ingest them one by one")
    if options.name != Path(options.name).name or options.name == "..":
        raise SourceError(f"--name is the first part of folder names, got {options.name!r}; leave out the path")
    reports: list[IngestReport] = []
    errors: list[str] = []
    for path in options.sources:
        try:
            source = open_source(path, options)
            try:
                reports.append(
                    ingest(source, options.out, cut, keep, overwrite=options.overwrite, threads=options.threads)
                )
            finally:
                source.close()
        except ValueError as error:
            errors.append(str(error))
        except OSError as error:
            errors.append(f"{path}: {error.strerror or error}; make room below {options.out} and run it again")
    return reports, errors


def cut_config(options: argparse.Namespace) -> CutConfig:
    """Return how to cut, as the arguments say."""
    length = options.clip_length.strip()
    try:
        seconds = finite(length[:-1]) if length.endswith("s") else None
        frames = None if seconds is not None else int(length)
    except (ValueError, argparse.ArgumentTypeError):
        raise SourceError(f"--clip-length must be frames (60) or seconds (10s), got {length!r}") from None
    return CutConfig(
        clip_frames=frames,
        clip_seconds=seconds,
        max_gap_s=options.max_gap,
        min_motion=options.min_motion,
        min_frames=options.min_frames,
        rate_hz=options.rate,
    )


def store_config(options: argparse.Namespace) -> StoreConfig:
    """Return how to store, as the arguments say."""
    return StoreConfig(options.quality, options.png, options.undistort)


def open_source(path: Path, options: argparse.Namespace) -> FrameSource:
    """Open a bag, a video or a folder of images."""
    if not path.exists():
        raise SourceError(f"{path} does not exist; give a bag, a video or a folder of images")
    if is_bag(path):
        if options.fps is not None or options.stamps is not None or options.stereo_folder is not None:
            raise SourceError(
                f"{path} is a bag: --fps, --stamps and --stereo-folder are for images; see --stereo-topic"
            )
        return BagImages(path, bag_options(options))
    if options.topic is not None:
        raise BagError(f"{path} is no bag, so --topic {options.topic} means nothing; give a rosbag2 folder or file")
    folder = FolderOptions(
        name=options.name,
        fps=options.fps,
        stamps=options.stamps,
        calibration=options.calibration,
        right_folder=options.stereo_folder,
        baseline_m=options.baseline,
        start_s=options.start,
        end_s=options.end,
    )
    if path.is_dir():
        return ImageFolder(path, folder)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return Video(path, folder)
    raise SourceError(f"{path} is no bag, no video ({', '.join(VIDEO_SUFFIXES)}) and no folder; convert it first")


def bag_options(options: argparse.Namespace) -> BagOptions:
    """Return what to read from a bag, as the arguments say."""
    return BagOptions(
        topic=options.topic,
        name=options.name,
        camera_info_topic=options.camera_info_topic,
        calibration=options.calibration,
        stereo_topic=options.stereo_topic,
        stereo_camera_info_topic=options.stereo_camera_info_topic,
        stereo_tolerance_s=options.stereo_tolerance,
        baseline_m=options.baseline,
        odometry_topic=options.odometry_topic,
        start_s=options.start,
        end_s=options.end,
        recorded_stamps=options.recorded_stamps,
    )
