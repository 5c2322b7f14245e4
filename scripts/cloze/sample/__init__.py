"""The generated sample corpus and task."""
