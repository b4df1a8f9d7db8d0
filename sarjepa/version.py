"""The version, alone in a file so that the package can be built without importing torch."""

__version__ = "0.1.0"
