"""Frozen features, probes, fine-tuning, few-shot draws, metrics with their uncertainty, attention."""
