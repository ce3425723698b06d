"""VideoCUPS offline: recordings become clips, pseudo-labels, a trained network and an exported bundle."""

__version__ = "0.1.0"
