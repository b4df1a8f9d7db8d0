"""Settings that belong together, a YAML file each."""
