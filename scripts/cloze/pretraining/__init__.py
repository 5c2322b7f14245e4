"""Masked-language-model pretraining: batches, masks, the loop, the run directory."""
