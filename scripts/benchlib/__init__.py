"""What the benchmarks on lab hosts measure with: names watched, writes made all the time, and groups that keep them.

The programs are in scripts/bench; this is what is worth a test of its own.
"""
