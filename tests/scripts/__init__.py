"""Tests of what the commands under scripts/ are made of, as far as that needs no root."""
