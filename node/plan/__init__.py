"""Pure decisions: each module turns pictures of the cluster or of a host into steps that say why."""
