"""Features of an image that no weight is learned for: gradient by ratio, histograms, low-pass."""
