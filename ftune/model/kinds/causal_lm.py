"""Models with a head that predicts the next token."""

from __future__ import annotations

AUTO = "AutoModelForCausalLM"  # of transformers
PEFT_TASK = "CAUSAL_LM"  # what PEFT calls it
