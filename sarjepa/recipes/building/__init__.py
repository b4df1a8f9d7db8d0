"""The parts of `sarjepa build-dataset` that build nothing: its looking modes."""
