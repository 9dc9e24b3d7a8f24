"""Commands for people who work on Corral; a package only so that tests can import what the commands are made of."""
