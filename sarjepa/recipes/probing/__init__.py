"""Parts of `probe`."""
