"""The history: records, healing, writes of others."""
