"""Greedy text equals that of another program: llama2.c, which the model comes from."""

from __future__ import annotations

import pytest
import transformers
from commands import command

pytestmark = pytest.mark.golden

PROMPT = "Once upon a time"


def test_greedy_text_of_stories260k_is_that_of_llama2_c(shared, recipe, tmp_path):
    model = (shared / "models/stories260K").resolve()
    expected = (model / "expected_greedy_llama2c.txt").read_text(encoding="utf-8").rstrip("\n")
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    count = len(tokenizer(expected)["input_ids"]) - len(tokenizer(PROMPT)["input_ids"])
    assert count > 150
    done = command(
        tmp_path,
        "generate",
        *recipe("lora", f"evaluate.generation.max_new_tokens={count}", model="stories260K"),
        *("--base", "--prompt", PROMPT),
    )
    assert PROMPT + done.out.rstrip("\n") == expected
    assert not list(tmp_path.iterdir())  # asking a base makes no run
