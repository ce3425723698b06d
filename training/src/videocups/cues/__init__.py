"""What motion tells of a pair of frames: optical flow, ego-motion, depth and motion probability."""
