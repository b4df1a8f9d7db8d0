"""What several commands share: settings as the command line that gives them."""
