"""The data flow, a folder for each stage, which is a group of assets in the UI.

assets.py and checks.py declare (Dagster); job.py, plan.py and worker.py work; tables.py names the columns; the rest is
pure. Of another stage only an earlier one's tables.py is read.
"""
