"""The self-supervised methods, a file each, and what they share: masks and targets."""
