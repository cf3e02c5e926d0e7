"""Lakes that were tampered with: every rule finds its disagreement."""
