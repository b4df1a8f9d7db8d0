"""One module per command: `run(config, progress) -> Result`. Only recipes read config objects.

`config` holds the settings of the command; `progress` receives its notes, warnings and progress bars.
"""
