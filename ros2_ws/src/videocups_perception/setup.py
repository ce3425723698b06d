"""The ROS 2 nodes."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "videocups_perception"
SHARED_FOLDERS = ("launch", "config", "rviz", "web", "models/street_small")


def files_in(folder: str) -> list[str]:
    """Return the files of one shared folder, by name."""
    return sorted(str(path) for path in Path(folder).glob("*") if path.is_file())


setup(
    name=NAME,
    version="0.1.0",
    description="ROS 2 nodes for video panoptic segmentation: which pixel belongs to which tracked object.",
    license="Apache-2.0",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *((f"share/{NAME}/{folder}", files_in(folder)) for folder in SHARED_FOLDERS),
    ],
    python_requires=">=3.10",
    install_requires=["setuptools"],
    extras_require={"test": ["pytest"]},
    entry_points={
        "console_scripts": [
            f"{node} = {NAME}.{node}:main"
            for node in ("vps_node", "replay_node", "recorder_node", "web_view", "summary_node")
        ],
    },
    zip_safe=True,
)
