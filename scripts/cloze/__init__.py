"""The library behind Cloze's scripts: text to batches, batches to encoders."""

__version__ = "0.1.0"
