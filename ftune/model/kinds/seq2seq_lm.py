"""Encoder-decoders that write text of a text."""

from __future__ import annotations

AUTO = "AutoModelForSeq2SeqLM"  # of transformers
PEFT_TASK = "SEQ_2_SEQ_LM"  # what PEFT calls it
