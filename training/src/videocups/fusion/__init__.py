"""From labels of single frames to labels of a video."""
