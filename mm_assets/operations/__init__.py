"""What runs beside the graph: the sensors, upkeep, and what people ask on the command line.

It may read every stage; no stage knows it.
"""
