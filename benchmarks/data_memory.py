"""How much memory and time the way from a large file to tokens takes.

    python benchmarks/data_memory.py --megabytes 1000 --tokenizer PATH

Writes a JSON-lines file of that size, formats it as ``ftune train`` does, and prints the peak
resident memory, which must not grow with the size, and the rows and tokens per second.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

from ftune.data.collect import examples, tokenized
from ftune.data.ledger import Ledger
from ftune.data.render import encoding
from ftune.data.rules import Rules
from ftune.data.store import TokenStore, TokenWriter
from ftune.data.templating import load_template
from ftune.recipe.base import Chosen
from ftune.recipe.source import Source
from ftune.registry import FORMATS

WORDS = "the quick brown fox jumps over a lazy dog while seven grey wizards write long letters "


def write_rows(path: Path, megabytes: float, words: int) -> None:
    """Rows of about ``words`` words in the answer."""
    text = (WORDS * (1 + words // 16)).split()
    with path.open("w", encoding="utf-8") as out:
        number = 0
        while out.tell() < megabytes * 1e6:
            start = number % 13
            row = {"prompt": f"Question {number}?", "completion": " ".join(text[start:][:words])}
            out.write(json.dumps(row) + "\n")
            number += 1


def peak() -> float:
    """Peak resident memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Prints one line of figures."""
    from transformers import AutoTokenizer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--words", type=int, default=200)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--template", default="plain")
    given = parser.parse_args()
    template = load_template(given.template, AutoTokenizer.from_pretrained(given.tokenizer))
    before = peak()
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "rows.jsonl", Path(folder) / "train.arrow"
        write_rows(path, given.megabytes, given.words)
        config = FORMATS.load("prompt_completion").Config()
        source = Source(path=str(path), format=Chosen("prompt_completion", config))
        ledger = Ledger([source.path])
        start = time.perf_counter()
        with TokenWriter(out) as writer:
            taken = examples([source], Path(folder), "error", ledger)
            for one, made in tokenized(taken, encoding(template, Rules(4096)), "error", ledger):
                writer.add(made, one.source, one.row)
        seconds = time.perf_counter() - start
        ledger.balance()
        written = peak()
        store = TokenStore(out)
        assert int(store.lengths.sum()) == ledger.total.tokens
        print(
            f"{given.megabytes:g} MB, {len(store):,} rows, {ledger.total.tokens:,} tokens: "
            f"{seconds:.1f} s, {len(store) / seconds:,.0f} rows/s, "
            f"{ledger.total.tokens / seconds:,.0f} tokens/s; resident {before:.0f} MB before, "
            f"{written:.0f} MB written, {peak():.0f} MB read back"
        )


if __name__ == "__main__":
    main()
