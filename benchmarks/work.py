"""The work that all sides are given: a model with random weights, and rows of GSM8K."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("FTUNE_SHARED", ROOT.parent / "shared"))
CHARACTERS_A_TOKEN = 3  # of GSM8K with GPT-2's tokenizer, rather too few than too many


@dataclass(frozen=True)
class Work:
    """Layer shape and tokenizer stand for SmolLM2-135M with 8 of its 30 layers."""

    method: str = "lora"
    length: int | None = None  # tokens of each row; None for the rows as they are
    batch: int = 8
    steps: int = 16
    layers: int = 8
    hidden: int = 576
    intermediate: int = 1536
    heads: int = 9
    kv_heads: int = 3
    tied: bool = True
    vocabulary: int = 0  # rows of the embedding; at least as many as the tokenizer has

    @property
    def limit(self) -> int:
        """Tokens that a row may have."""
        return self.length or 1024


def prepare(work: Work, folder: Path) -> None:
    """Writes the model, ``train.jsonl`` and ``work.json`` into a folder; imports torch."""
    import torch
    import transformers

    source = SHARED / "models/gpt2-tokenizer"
    if not source.is_dir():
        raise SystemExit(f"{source} is not there; set FTUNE_SHARED to the folder of shared data")
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    config = transformers.LlamaConfig(
        vocab_size=max(len(tokenizer), work.vocabulary),
        hidden_size=work.hidden,
        intermediate_size=work.intermediate,
        num_hidden_layers=work.layers,
        num_attention_heads=work.heads,
        num_key_value_heads=work.kv_heads,
        tie_word_embeddings=work.tied,
        max_position_embeddings=8192,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    with (folder / "train.jsonl").open("w", encoding="utf-8") as handle:
        for row in rows(work):
            handle.write(json.dumps(row) + "\n")
    (folder / "work.json").write_text(json.dumps(asdict(work)), encoding="utf-8")


def read(folder: Path) -> Work:
    """What ``prepare`` wrote."""
    return Work(**json.loads((folder / "work.json").read_text(encoding="utf-8")))


def rows(work: Work) -> Iterator[dict[str, str]]:
    """All rows of the work, each trained on once."""
    return islice(_rows(work.length), work.steps * work.batch)


def _rows(length: int | None) -> Iterator[dict[str, str]]:
    """Question and answer; for a length, answers with further pairs behind them, to be cut."""
    with (SHARED / "data/gsm8k/train.jsonl").open(encoding="utf-8") as handle:
        pairs = [json.loads(line) for line in islice(handle, 2048)]
    source = cycle(pairs)
    for pair in source:
        answer = pair["answer"]
        while length and len(answer) < length * (CHARACTERS_A_TOKEN + 2):
            more = next(source)
            answer += f"\n\n{more['question']}\n{more['answer']}"
        yield {"prompt": pair["question"] + "\n", "completion": answer}
