"""Rows to tokens to batches."""
