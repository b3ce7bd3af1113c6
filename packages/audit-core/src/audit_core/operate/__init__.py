"""What operators do with a trail, for every command line: look, clean, discard, examine."""
