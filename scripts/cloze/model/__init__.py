"""The encoder, its folders and where it computes."""
