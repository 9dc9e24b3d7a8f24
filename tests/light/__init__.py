"""Bad input and bad days, played on real daemons as processes on loopback addresses, with the engine in memory."""
