"""Training, one question a file: run (the driver), worker, recipe, parallel, families, examples, saving, reporting.

A family of models is a row in families.py. Data comes in as examples. No stage is imported here.
"""
