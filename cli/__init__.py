"""The command line: options made from the settings, and a console that draws bars. The work itself is in recipes."""
