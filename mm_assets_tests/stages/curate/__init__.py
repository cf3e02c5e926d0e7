"""Who becomes an example, and what a refresh changes."""
