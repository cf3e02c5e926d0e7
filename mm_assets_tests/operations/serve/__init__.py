"""The server's command, and what it refuses."""
