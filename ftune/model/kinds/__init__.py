"""Kinds of model by the head that they have: what transformers and PEFT call them."""
