"""The tiny base model, and what is refused as one."""
