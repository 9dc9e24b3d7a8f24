"""What a node keeps on disk: its identity, and the Raft log with votes and snapshots.  The home of sqlite3."""
