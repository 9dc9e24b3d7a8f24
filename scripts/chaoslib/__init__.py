"""Chaos: a cluster of real daemons that is broken at random while clients use it, and judged afterwards.

The library behind `scripts/chaos`.  Works on lab hosts with real engines, and on processes of this machine.
"""
