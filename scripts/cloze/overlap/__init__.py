"""Which texts stand in which others: exact repeats, long phrases in common."""
