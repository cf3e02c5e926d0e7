"""Questions about many images, answered by a model: run.py picks the engine by its name.

The files here are shared by all engines (questions, pictures, work, usage). An engine is a folder and a line in run.py.
"""
