"""Real daemons without containers: processes on loopback addresses with the engine in memory.

For tests of what needs no kernel, and for benchmarks of the cluster itself.  Only the standard library is used here;
the daemons run in whatever interpreter runs this.
"""

from scripts.lightlib.cluster import LightCluster, LightNode, NotSoError, eventually

__all__ = ["LightCluster", "LightNode", "NotSoError", "eventually"]
