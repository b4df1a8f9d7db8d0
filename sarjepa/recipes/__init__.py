"""One file a command: `run(config, progress) -> Result`; the only readers of config objects."""
