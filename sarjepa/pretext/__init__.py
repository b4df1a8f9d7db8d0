"""The self-supervised methods, one per file, and the masks and targets that they share."""
