"""Names inside the cluster: an immutable zone, answers from it, and the small server that serves them."""
