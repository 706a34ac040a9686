"""Behind ``ftune judge``: two sets of answers before a judge, or verdicts given before."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftune.errors import DataError
from ftune.run import atomic
from ftune.run.progress import Progress
from ftune.stages.sides import KEYS, Answered, common, lines

if TYPE_CHECKING:
    from ftune.evaluate.judging import Pair

WORDS, LEAST = 512, 32  # tokens of an explanation at most, and those it must have room for


@dataclass(frozen=True)
class Judge:
    """Who judges, and how."""

    model: str
    dtype: str = "auto"
    explain: bool = False
    allow_remote_code: bool = False
    batch_size: int = 8


def ask(a: Answered, b: Answered, judge: Judge, out: Path, progress: Progress) -> Mapping[str, Any]:
    """Has all questions judged in both orders, and writes ``judgments.jsonl`` and a report.

    Raises:
        DataError: the two sides don't answer the same questions, or a judgment can't be read.
    """
    from ftune.evaluate.judging import Pair, figures

    keys = common(a, b)
    orders = {"forward": (a, b), "swapped": (b, a)}
    asked = [
        (a.questions[key], one.texts[key], other.texts[key])
        for one, other in orders.values()
        for key in keys
    ]
    verdicts, words = _verdicts(asked, judge, progress)
    half = len(keys)
    unread = sum(v is None for v in verdicts)
    written, pairs = [], []
    for at, key in enumerate(keys):
        both = (verdicts[at], verdicts[at + half])
        for order, place in zip(orders, (at, at + half), strict=True):
            line = {"question": key, "order": order, "verdict": verdicts[place]}
            written.append({**line, **({"text": words[place]} if words else {})})
        if None not in both:
            pairs.append(Pair(key, *both))  # type: ignore[arg-type]
    atomic.write_text(out / "judgments.jsonl", "".join(json.dumps(x) + "\n" for x in written))
    if not pairs:
        raise DataError(
            f"{judge.model}: none of its {len(verdicts)} judgments ends with 1, 2 or 3; take a "
            f"stronger judge, or leave --explain out (they are in {out / 'judgments.jsonl'})"
        )
    return _told(pairs, a.name, b.name, out, unread, {"judge": judge.model}, figures)


def read(
    forward: Sequence[Path], swapped: Sequence[Path], names: tuple[str, str], out: Path | None
) -> Mapping[str, Any]:
    """The figures of verdicts that were given before.

    ``forward`` has the verdicts on (A, B), ``swapped`` those on (B, A); a file of ``ask`` has both.

    Raises:
        DataError: a file or a line can't be read, or a question has no verdict in one order.
    """
    from ftune.evaluate.judging import Pair, figures

    both: dict[str, dict[str, int]] = {}
    given = chain(_scores(forward, "forward"), _scores(swapped, "swapped"))
    for question, order, verdict in given:
        if order in both.setdefault(question, {}):
            raise DataError(f"question {question} has two verdicts in one order; leave one out")
        both[question][order] = verdict
    lacking = [question for question, orders in both.items() if len(orders) < 2]
    if lacking or not both:
        raise DataError(
            f"{len(lacking)} questions have a verdict in one order only (the first is "
            f"{lacking[0] if lacking else 'none'}); give the file of the other with --swapped"
        )
    pairs = [Pair(question, o["forward"], o["swapped"]) for question, o in both.items()]
    return _told(pairs, *names, out, 0, {}, figures)


def _told(
    pairs: list[Pair], a: str, b: str, out: Path | None, unread: int, more: Any, figures: Any
) -> Mapping[str, Any]:
    from ftune.evaluate.judging import sentence

    found = {**figures(pairs), "a": a, "b": b, "unread": unread, **more}
    found["sentence"] = sentence(found, a, b)
    if out is not None:
        atomic.write_json(out / "report.json", found)
    return found


def _scores(paths: Sequence[Path], order: str) -> Iterator[tuple[str, str, int]]:
    for path in paths:
        for number, line in lines(path):
            key = next((line[k] for k in KEYS if k in line), None)
            verdict = line.get("verdict", line.get("score"))
            if key is None or verdict not in (0, 1, 2, 3):
                raise DataError(
                    f"{path}:{number}: needs a question and a verdict (1, 2, or 0 for a tie), "
                    f"and has {verdict!r}"
                )
            yield str(key), str(line.get("order", order)), int(verdict) % 3


def _verdicts(
    asked: Sequence[tuple[str, str, str]], judge: Judge, progress: Progress
) -> tuple[list[int | None], list[str]]:
    """The verdict on each triple of question, first and second answer, and the judge's words."""
    from ftune.evaluate.judge_prompt import asked as prompt
    from ftune.model.loading import load_model, load_tokenizer
    from ftune.recipe.schema import Model

    section = Model(name_or_path=judge.model, dtype=judge.dtype)  # type: ignore[arg-type]
    tokenizer = load_tokenizer(section, judge.allow_remote_code)
    loaded = load_model(section, tokenizer, allow_code=judge.allow_remote_code)
    texts = [_templated(tokenizer, prompt(*each, judge.explain)) for each in asked]
    if judge.explain:
        return _explained(loaded.model, tokenizer, texts, judge, progress)
    return _likeliest(loaded.model, tokenizer, texts, judge, progress), []


def _templated(tokenizer: Any, text: str) -> str:
    """In the judge's own chat template, if it has one."""
    if not tokenizer.chat_template:
        return text
    turns = [{"role": "user", "content": text}]
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


def _explained(
    model: Any, tokenizer: Any, texts: Sequence[str], judge: Judge, progress: Progress
) -> tuple[list[int | None], list[str]]:
    from ftune.evaluate.judging import verdict_of
    from ftune.evaluate.predicting import generate
    from ftune.recipe.schema import Generation
    from ftune.types import Prompt

    prompts = [Prompt(_ids(tokenizer, text), text, row=row) for row, text in enumerate(texts)]
    context = _context(model)
    room = WORDS if context is None else context - max(len(one.ids) for one in prompts)
    if room < LEAST:
        raise DataError(
            f"{judge.model}: a question with both answers leaves the judge room for {room} tokens; "
            "take a judge with a longer context"
        )
    settings = Generation(max_new_tokens=min(WORDS, room))
    made = generate(
        model, tokenizer, prompts, settings, batch_size=judge.batch_size, progress=progress
    )
    words = [one.text for one in made]
    return [verdict_of(text) for text in words], words


def _likeliest(
    model: Any, tokenizer: Any, texts: Sequence[str], judge: Judge, progress: Progress
) -> list[int | None]:
    """The choice with the highest likelihood behind each prompt."""
    import numpy as np

    from ftune.data.batching import in_order
    from ftune.data.collating import collate
    from ftune.evaluate.judge_prompt import choices
    from ftune.evaluate.scoring import likelihood
    from ftune.registry import OBJECTIVES

    rows = []
    written = choices(in_turns=bool(tokenizer.chat_template))
    for text in texts:
        start = _ids(tokenizer, text)
        for choice in written.values():
            more = tokenizer(choice, add_special_tokens=False)["input_ids"]
            rows.append(([*start, *more], [False] * len(start) + [True] * len(more)))
    context = _context(model)
    longest = max(len(ids) for ids, _ in rows)
    if context is not None and longest > context:
        raise DataError(
            f"{judge.model}: a question with both answers has {longest:,} tokens, and the judge "
            f"reads {context:,}; take a judge with a longer context"
        )
    lengths = np.array([len(ids) for ids, _ in rows])
    pad = tokenizer.pad_token_id or 0
    batches = (
        collate(micro, rows.__getitem__, pad, packed=False)
        for micro in in_order(lengths, judge.batch_size)
    )
    logits = OBJECTIVES.load("sft").target_logits
    found = {one.row: one.total for one in likelihood(model, batches, logits, len(rows), progress)}
    verdicts: list[int | None] = []
    for at in range(len(texts)):
        losses = {verdict: found[3 * at + n] for n, verdict in enumerate(written)}
        verdicts.append(min(losses, key=losses.__getitem__))
    return verdicts


def _context(model: Any) -> int | None:
    """Tokens that the model reads at once, where its config says."""
    found = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return None if found is None else int(found)


def _ids(tokenizer: Any, text: str) -> list[int]:
    """Without a second opening mark where the chat template wrote one."""
    return list(tokenizer(text, add_special_tokens=not tokenizer.chat_template)["input_ids"])
