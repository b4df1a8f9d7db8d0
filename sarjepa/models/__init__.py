"""The encoder, the predictor, the heads, and the files they come from."""
