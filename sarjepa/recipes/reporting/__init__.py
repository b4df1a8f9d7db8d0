"""The parts of `sarjepa report`: a module a section of the page, and the command lines that made the run."""
