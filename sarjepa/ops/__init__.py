"""Features of an image without learned weights: gradient by ratio, histograms, low-pass, despeckling."""
