"""Labelled texts: their files, splits and hold-outs, measures and baselines."""
