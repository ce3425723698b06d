"""Objects of a single frame: what is near and moves together belongs together."""
