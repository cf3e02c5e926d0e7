"""Every helper of the tests; README.md says which one to call."""
