"""The gate, the interval, and what the UI shows of them."""
