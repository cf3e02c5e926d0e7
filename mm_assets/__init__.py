"""Raw images to a fine-tuned vision-language model and its predictions, as one Dagster graph.

Beside this file stand the map (definitions.py), the catalog of assets, the command line, and ground files: small and
pure, imported by all, importing next to nothing.
"""
