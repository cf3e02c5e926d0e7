"""The data flow: one folder for each stage, which is a group of assets in the UI.

assets.py and checks.py declare (Dagster); job.py, plan.py and worker.py do the work; tables.py names the columns; the
other files are pure. A stage reads tables.py of an earlier stage, and nothing else of it.
"""
