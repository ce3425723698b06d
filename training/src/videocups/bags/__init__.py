"""Recordings: rosbag2 (db3, mcap) and ROS 1 bags, read robustly and written without ROS."""
