"""What a trained model is used for: filling masks, classifying and embedding texts."""
