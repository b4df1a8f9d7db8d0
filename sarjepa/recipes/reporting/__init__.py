"""The parts of `sarjepa report`: one module per section of the page."""
