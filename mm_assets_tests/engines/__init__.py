"""The outside systems, each against the real one or a small real alternative."""
