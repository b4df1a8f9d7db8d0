"""The parts of `sarjepa visualize-attention`: subjects → viewers (inputs and encoders) → pictures."""
