"""What runs beside the graph."""
