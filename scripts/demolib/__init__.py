"""The walk-through on lab hosts: the library behind `scripts/demo`, shared with the end-to-end tests.

Only the standard library and scripts.lablib are used; Corral itself is run as a program, the way a person runs it.
"""
