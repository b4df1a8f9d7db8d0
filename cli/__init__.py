"""The command line: options made from the settings, a console that draws bars, and nothing of the work itself."""
