"""The VideoCUPS runtime: plain Python on NumPy, OpenCV and SciPy; no torch, no ROS."""

__version__ = "0.1.0"
