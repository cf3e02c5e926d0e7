"""Training, split by question: run (the driver), worker, recipe, parallel, families, examples, saving, reporting.

A family of models is a row in families.py. Data comes in as examples; no stage is known here.
"""
