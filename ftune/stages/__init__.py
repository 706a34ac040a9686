"""The composers: the only layer that knows both the recipe and the parts."""
