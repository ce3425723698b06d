"""From raw network outputs to one label per pixel."""
