"""Files of models: digests, copies, what is missing."""
