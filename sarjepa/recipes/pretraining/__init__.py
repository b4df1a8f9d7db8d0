"""The parts of `sarjepa pretrain`: its folder, its batches, what it sets up, and what watches it."""
