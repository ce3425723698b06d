"""The video panoptic network: one set of weights, trained here and exported for the vehicle."""
