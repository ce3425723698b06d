"""A backbone learned from the recordings alone: self-distillation of images and of pixels that flow links."""
