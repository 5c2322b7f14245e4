"""What an encoder learns: each objective with its batches, head, loss and metrics."""
