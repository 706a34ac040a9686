"""Every tuning method on every kind of head, architecture and base: what works, and why not.

    python tests/contract/matrix.py --page docs/tasks.md

A cell holds if the method is attached to a small model, every trained parameter gets a gradient,
and what is saved and read back gives equal logits. The table stands in the page between its marks.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from small_runs import NARROW, make_model, one_thread
from small_tasks import make_encoder, make_seq2seq

from ftune.errors import FtuneError
from ftune.recipe.schema import Model, Quantization
from ftune.registry import KINDS, METHODS
from ftune.types import Task

BEGIN, END = "<!-- matrix -->", "<!-- end of matrix -->"
BITS = {
    "full": None,
    "8 bits": Quantization(load_in_8bit=True),
    "4 bits": Quantization(load_in_4bit=True),
}
MAKERS = {
    "encoder": partial(make_encoder, intermediate_size=64),
    "decoder": make_model,
    "encoder-decoder": make_seq2seq,
}
ROW = [2, 40, 41, 50, 60, 3]
SHORT = {
    "causal_lm": "language model",
    "seq2seq_lm": "encoder-decoder",
    "sequence_classification": "classification",
    "sequence_regression": "regression",
}
Key = tuple[str, str, str, str]  # kind, architecture, base, method


def cells(folder: Path, bases: Sequence[str] = tuple(BITS)) -> Iterator[tuple[Key, str]]:
    """Each cell of these bases, and why it is empty; an empty reason where it holds."""
    homes = {name: make(folder / name) for name, make in MAKERS.items()}
    with one_thread():
        for kind in KINDS.names():
            for architecture, home in homes.items():
                for base in bases:
                    for method in METHODS.names():
                        key = (kind, architecture, base, method)
                        yield key, _why_not(home, kind, BITS[base], method, folder)


def _why_not(
    home: Path, kind: str, quantization: Quantization | None, method: str, folder: Path
) -> str:
    if kind == "causal_lm" and home.name != "decoder":
        return "a language model is a decoder"
    if (kind == "seq2seq_lm") != (home.name == "encoder-decoder"):
        return "encoder-decoders are trained to write text only, and nothing else needs one"
    if method == "qlora" and (quantization is None or not quantization.load_in_4bit):
        return "qlora is lora on a base in 4 bits"
    try:
        tried(home, kind, quantization, method, folder)
    except FtuneError as error:
        return _general(str(error), home)
    return ""


def _general(said: str, home: Path) -> str:
    """A reason without the names of this model."""
    said = said.replace(f"{home}: ", "").removeprefix("tune.method: ")
    said = re.sub(r"would train \S+ \(\d+ such weights\), which is quantized", "would train "
                  "quantized weights", said)  # fmt: skip
    said = re.sub(r"\b[A-Z][a-z]+For[A-Z]\w+", "the model", said)
    said = re.sub(r"head for [a-z ]+; take", "head of this kind; take", said)
    return re.sub(r"in [48] bits", "in few bits", said)


def tried(
    home: Path, kind: str, quantization: Quantization | None, method: str, folder: Path
) -> None:
    """Attaches, trains in thought, saves and reads back; raises where it doesn't hold."""
    import torch

    from ftune.model import adapters
    from ftune.model.comparing import logits
    from ftune.model.loading import load_model, load_tokenizer

    section = Model(name_or_path=str(home), device="cpu", quantization=quantization)
    tokenizer, task = load_tokenizer(section), Task(kind, ("a", "b", "c"), (1, 1, 1))
    torch.manual_seed(0)
    base = load_model(section, tokenizer, task=task)
    module = METHODS.load(method)
    model = module.attach(base.model, module.Config(**NARROW.get(method, {})), tokenizer)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.01 * torch.randn_like(parameter)
    ids = torch.tensor([ROW])
    ids = ids.unsqueeze(0) if kind == "multiple_choice" else ids
    more = {"decoder_input_ids": ids} if kind == "seq2seq_lm" else {}
    said = model.train()(input_ids=ids, attention_mask=torch.ones_like(ids), **more)
    ends = (said.logits,) if "logits" in said else (said.start_logits, said.end_logits)
    sum(one.square().sum() for one in ends).backward()
    bare = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not bare, f"{method} on {kind}: no gradient reaches {bare[0]}"
    wanted = logits(model.eval(), ROW)
    out = folder / "-".join((home.name, kind, method, str(bool(quantization))))
    adapters.save(model, out, base=base.identity, tokenizer=tokenizer, method=method)
    torch.manual_seed(1)  # another head than before, if it were not saved
    again = adapters.load(load_model(section, tokenizer, task=task), out)
    apart = float((logits(again, ROW) - wanted).abs().max())
    assert apart < 1e-5, f"{method} on {kind}: {apart} after reading it back"


def table(found: dict[Key, str]) -> str:
    """A line for each kind and method; letters stand for the reasons below."""
    reasons: dict[str, str] = {}

    def mark(why: str) -> str:
        if not why:
            return "✓"
        return reasons.setdefault(why, chr(ord("a") + len(reasons)))

    columns = [(architecture, base) for architecture in MAKERS for base in BITS]
    lines = [
        "| method | " + " | ".join(_short(kind) for kind in KINDS.names()) + " |",
        "| --- |" + " --- |" * len(KINDS.names()),
    ]
    for method in METHODS.names():
        line = []
        for kind in KINDS.names():
            marks = "".join(mark(found[kind, a, b, method]) for a, b in columns)
            groups = [marks[at : at + len(BITS)] for at in range(0, len(marks), len(BITS))]
            line.append(" ".join(groups))
        lines.append(f"| `{method}` | " + " | ".join(line) + " |")
    told = [f"- {letter}: {why}" for why, letter in reasons.items()]
    return "\n".join([*lines, "", *told])


def _short(kind: str) -> str:
    return SHORT.get(kind, kind.replace("_", " "))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--page", type=Path, required=True)
    page = options.parse_args().page
    with tempfile.TemporaryDirectory() as folder:
        made = table(dict(cells(Path(folder))))
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{made}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
