"""Where images come from: a file for each kind of source, all behind the protocol of source.py.

A new kind enters here, with one line in the table of kinds.
"""
