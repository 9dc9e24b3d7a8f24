"""The v1 API: an own HTTP server, and the resources it serves from the local replica."""
