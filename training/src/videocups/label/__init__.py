"""Labels made from clips: the runner of the label stages on one clip, and the page that shows what it made."""
