"""Labelled examples as token ids and targets: one file for each objective that learns labels."""
