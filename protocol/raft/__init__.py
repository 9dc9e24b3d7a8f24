"""Raft as a sans-IO core: election, replication, snapshots and membership of the one group of a cluster."""
