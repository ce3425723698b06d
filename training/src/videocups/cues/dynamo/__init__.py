"""Dynamo-Depth: depth, ego-motion, 3-D flow and motion masks learned from clips; needs the extra ``train``."""
