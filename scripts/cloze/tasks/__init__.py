"""Tasks: labelled texts, fine-tuning, evaluation, baselines."""
