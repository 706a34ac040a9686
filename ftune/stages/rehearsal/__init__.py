"""A recipe walked in miniature before the hours begin."""
