"""The runtime as a ROS package (colcon) and as a plain Python package (pip install .)."""

from setuptools import find_packages, setup

NAME = "videocups_core"

setup(
    name=NAME,
    version="0.1.0",
    description="The VideoCUPS runtime: panoptic frames, tracking and model bundles, without torch and without ROS.",
    license="Apache-2.0",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
    ],
    python_requires=">=3.10",
    install_requires=["numpy>=1.26", "opencv-python-headless>=4.6", "scipy>=1.11"],
    extras_require={"onnx": ["onnxruntime>=1.17"], "test": ["pytest"]},
    zip_safe=False,
)
