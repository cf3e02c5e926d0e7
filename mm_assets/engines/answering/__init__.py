"""Questions about many images, answered by a model: run.py picks the engine by its name.

Here stands what all engines share (questions, pictures, work, usage); an engine is a folder, and a line in run.py.
"""
