"""Drivers: the thin shell that gives the pure cores a clock, a network and a disk."""
