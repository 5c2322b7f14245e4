"""Reports and comparisons of what was measured."""
