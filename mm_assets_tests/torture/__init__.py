"""Kills, races, faults and a machine of random steps: the lake must be that of an undisturbed run."""
