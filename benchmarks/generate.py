"""Answers by ftune, row by row, and by transformers' text-generation pipeline, in turn.

    .venv/bin/python benchmarks/generate.py ../shared

Two sets of prompts for TinyStories-656K: E2E's meaning representations as they are, and GSM8K's
questions behind the same solved examples. All sides are greedy in float32 and write answers of
equal words, which is checked. The pipeline and ftune are asked with each of the ``--batch`` sizes,
and ftune with a budget of tokens too.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

BUDGET = 8192  # evaluate.batch_tokens
Side = Callable[[], list[str]]


def e2e(shared: Path, count: int) -> list[str]:
    """Meaning representations, each once."""
    with (shared / "data/e2e/devset.csv").open(encoding="utf-8", newline="") as file:
        asked = dict.fromkeys(row["mr"] for row in csv.DictReader(file))
    return [f"{mr}\n" for mr in asked][:count]


def gsm8k(shared: Path, count: int, shots: int) -> list[str]:
    """Questions of the test set behind the first examples of the training set."""

    def read(name: str, rows: int) -> list[dict[str, str]]:
        lines = (shared / f"data/gsm8k/{name}.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines[:rows]]

    solved = [f"Q: {one['question']}\nA: {one['answer']}" for one in read("train", shots)]
    asked = [f"Q: {one['question']}\nA:" for one in read("test", count)]
    return ["\n\n".join([*solved, one]) for one in asked]


def sides(model: Any, tokenizer: Any, texts: list[str], new: int, batches: list[int]) -> Any:
    """The ways of answering, by name."""
    from transformers import pipeline

    from ftune.evaluate.predicting import generate
    from ftune.recipe.schema import Generation
    from ftune.types import Prompt

    asked = pipeline("text-generation", model=model, tokenizer=tokenizer)

    def by_ftune(size: int, tokens: int | None = None) -> list[str]:
        rows = tokenizer(texts)["input_ids"]
        prompts = [Prompt(tuple(ids), text) for ids, text in zip(rows, texts, strict=True)]
        settings = Generation(max_new_tokens=new)
        sizes = {"batch_size": size, "batch_tokens": tokens}
        return [p.text for p in generate(model, tokenizer, prompts, settings, **sizes)]

    def by_pipeline(size: int) -> list[str]:
        found = asked(
            texts,
            batch_size=size,
            max_new_tokens=new,
            do_sample=False,
            return_full_text=False,
        )
        return [one[0]["generated_text"] for one in found]

    def row_by_row() -> list[str]:
        made = []
        for text in texts:
            given = tokenizer(text, return_tensors="pt")
            ids = model.generate(
                input_ids=given["input_ids"],
                attention_mask=given["attention_mask"],
                max_new_tokens=new,
                do_sample=False,
            )[0]
            before = tokenizer.decode(given["input_ids"][0], skip_special_tokens=True)
            made.append(tokenizer.decode(ids, skip_special_tokens=True)[len(before) :])
        return made

    found: dict[str, Side] = {"row by row": row_by_row}
    for size in batches:
        found[f"pipeline, {size} at once"] = lambda size=size: by_pipeline(size)
        found[f"ftune, {size} at once"] = lambda size=size: by_ftune(size)
    found[f"ftune, {BUDGET} tokens at once"] = lambda: by_ftune(batches[0], BUDGET)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("shared", type=Path)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--shots", type=int, default=4)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--batch", type=int, nargs="+", default=[16])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    import transformers

    logging.disable(logging.WARNING)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    folder = options.shared / "models/TinyStories-656K"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    model.config.max_position_embeddings = 4096  # rotary; what is answered matters to nobody here
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    sets = {
        "E2E": e2e(options.shared, options.prompts),
        f"GSM8K, {options.shots} shots": gsm8k(options.shared, options.prompts, options.shots),
    }
    told: dict[str, Any] = {}
    for name, texts in sets.items():
        ways = sides(model, tokenizer, texts, options.new_tokens, options.batch)
        seconds: dict[str, list[float]] = {side: [] for side in ways}
        answers: dict[str, list[str]] = {}
        for _ in range(options.repeat + 1):
            for side, way in ways.items():
                begun = time.perf_counter()
                answers[side] = way()
                seconds[side].append(time.perf_counter() - begun)
        plain = median(seconds["row by row"][1:])  # the first round warms up
        right = answers["row by row"]
        told[name] = {
            side: {
                "times_row_by_row": plain / median(found[1:]),
                "equal": sum(_same(a, b) for a, b in zip(answers[side], right, strict=True)),
            }
            for side, found in seconds.items()
        }
    if options.json:
        print(json.dumps(told))
        return
    for name, found in told.items():
        print(f"{name:<28}{'x':>6}  equal answers of {options.prompts}")
        for side, one in found.items():
            print(f"  {side:<26}{one['times_row_by_row']:>6.2f}{one['equal']:>6}")


def _same(one: str, other: str) -> bool:
    """Whether two answers are equal but for blanks, which are decoded in several ways."""
    return one.split() == other.split()


if __name__ == "__main__":
    main()
