"""Loading, quantizing, tuning and merging models."""
