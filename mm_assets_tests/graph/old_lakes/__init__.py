"""Lakes as earlier releases wrote them, packed, and the script that made them."""
