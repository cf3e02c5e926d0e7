"""Maintenance, alone and beside others."""
