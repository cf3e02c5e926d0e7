"""References, records and promotions, as plain values."""
