"""What the learned cues share: sampling of images and smoothness of fields."""
