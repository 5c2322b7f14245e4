"""One trainer: its loop, step, budget, run directory and processes."""
