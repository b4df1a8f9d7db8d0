"""The engine: loop, optimiser, schedule, checkpoints, devices and processes."""
