"""Dense inverse search, refined by a small network that learns from made scenes; needs the extra ``train``."""
