"""YAML text to one frozen Recipe, and every problem of it told at once."""
