"""A package of one's own: what the profile beside it adds to the graph."""
