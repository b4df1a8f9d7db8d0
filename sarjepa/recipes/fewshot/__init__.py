"""The parts of `sarjepa fewshot-bench`: grid (fill it) → cells (means and intervals) → tables."""
