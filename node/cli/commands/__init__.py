"""One module for each command; node.cli.root imports the one that was typed."""
