"""ftune: fine-tuning of language models from YAML recipes, with proof of what was done."""

__version__ = "0.1.0"
