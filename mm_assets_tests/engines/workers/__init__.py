"""The cluster, blocking work and the sandbox."""
