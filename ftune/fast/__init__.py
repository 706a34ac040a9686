"""Faster ways to compute the same: each stands beside a plain one that a test compares it with."""
