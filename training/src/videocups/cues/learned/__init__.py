"""What the learned cues share: sampling of images, smoothness of fields, crops."""
