"""A training whose worker is killed, and the recipe as the trainer takes it."""
