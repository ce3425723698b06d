"""The clip store: what a recording is cut into, and the folders it is kept in."""
