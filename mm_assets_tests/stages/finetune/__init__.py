"""What a checkpoint is made by, and its loss curve."""
