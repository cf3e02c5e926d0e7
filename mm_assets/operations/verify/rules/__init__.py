"""What must hold in a lake, a file for each kind of evidence; every rule writes into the report.

Nothing here knows Dagster: events come in as plain values.
"""
