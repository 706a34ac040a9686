"""A body of which nothing is trained: it rests, and what the head reads of it is computed once.

Its dropout is off, as in an evaluation: then its outputs are the same in every epoch. They are
found by the content of a row, and always made in the same batches, those of the plan's first epoch,
so a training that goes on after a stop reads the same numbers to the last bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import torch

from ftune import environment
from ftune.fast import trials
from ftune.fast.quick import paths_of
from ftune.train.engine import Engine
from ftune.train.gradient import to_device
from ftune.train.job import Job, Micro

BYTES = 1 << 30  # of outputs that are kept, at most
LINES = ("input_ids", "attention_mask", "token_type_ids")


@contextmanager
def at_rest(job: Job, engine: Engine, steps: int) -> Iterator[float]:
    """Inside, a body without trained parameters has no dropout, and knows its outputs where that
    pays: in trainings of more than one epoch. Gives the seconds that it took to compute them."""
    body = _body(engine.plain)
    if body is None:
        yield 0.0
        return
    was = body.training
    # The loop sets the whole model to training before each step.
    body.train = lambda mode=True: type(body).train(body, False)  # noqa: ARG005
    body.eval()
    kept = None
    try:
        begun = time.perf_counter()
        kept = _memory(job, engine, body, steps)
        if kept is not None:
            body.forward = kept.forward
            paths_of(engine.plain).modules["frozen body"] = kept.rows
        yield time.perf_counter() - begun if kept is not None else 0.0
    finally:
        if kept is not None:
            body.__dict__.pop("forward", None)
        body.__dict__.pop("train", None)
        body.train(was)


class Memory:
    """A body's outputs by row: of each field of ``read`` one line of numbers."""

    def __init__(self, own: Callable[..., Any], read: dict[str, bool]) -> None:
        self._own, self._read = own, read
        self._kept: dict[bytes, dict[str, torch.Tensor]] = {}
        self._kind: Any = None

    @property
    def rows(self) -> int:
        """How many different rows are known."""
        return len(self._kept)

    @torch.no_grad()
    def learn(self, given: dict[str, torch.Tensor]) -> None:
        """Computes the outputs of a batch and keeps those of its rows."""
        out = self._own(**given)
        self._kind = type(out)
        for row, key in enumerate(_keys(given)):
            if key not in self._kept:
                fields = {n: out[n][row] for n, read in self._read.items() if read}
                self._kept[key] = {n: _first(x).clone() for n, x in fields.items()}

    def forward(self, *args: Any, **options: Any) -> Any:
        """The body's forward: what is known of these rows, or its own where one is new."""
        given = _lines(args, options)
        keys = _keys(given) if given is not None else []
        if not keys or any(key not in self._kept for key in keys):
            with torch.no_grad():
                return self._own(*args, **options)
        made: dict[str, Any] = {}
        for name, read in self._read.items():
            if read:
                made[name] = torch.stack([self._kept[key][name] for key in keys])
            else:  # the head takes fields by their number too, so each has to be there
                made[name] = torch.zeros(1, 1, 1).expand(len(keys), 1, 1)
        return self._kind(**made)


def _body(model: Any) -> Any | None:
    """The pre-trained body under a head, if only the head is trained."""
    from transformers import PreTrainedModel

    if not isinstance(model, PreTrainedModel):
        return None
    body = getattr(model, model.base_model_prefix, None)
    if not isinstance(body, torch.nn.Module) or body is model:
        return None
    own = list(body.parameters())
    return body if own and not any(p.requires_grad for p in own) else None


def _memory(job: Job, engine: Engine, body: Any, steps: int) -> Memory | None:
    """The outputs of all rows, or None where they are not to be kept: by rule, never by a clock."""
    if environment.plain() or engine.processes > 1 or engine.in_step or "forward" in body.__dict__:
        return None
    if job.settings.gradient_checkpointing or job.settings.torch_compile:
        return None
    read = trials.fields_read(engine.plain, body)
    if not read:  # language models among them, whose rows may be a stream
        return None
    epoch = job.plan.epoch(0)
    if steps <= len(epoch):
        return None
    rows = sum(step.rows for step in epoch) + sum(len(m.lines) for m in job.eval_batches)
    if 4 * rows * sum(read.values()) * body.config.hidden_size > BYTES:
        return None
    memory = Memory(body.forward, read)
    batches = list(_batches(job, epoch))
    with job.progress.meter("frozen layers", len(batches), "batches") as meter:
        for number, (collate, micro) in enumerate(batches):
            if job.stop:
                break
            batch = to_device(collate(micro), engine.device)
            given = {name: getattr(batch, name) for name in LINES}
            memory.learn({n: x for n, x in given.items() if x is not None})
            meter.update(number + 1)
    return memory


def _batches(job: Job, epoch: Any) -> Iterator[tuple[Callable[[Micro], Any], Micro]]:
    """Those of the first epoch, and those of the evaluation."""
    for at in range(len(epoch)):
        for micro in epoch[at].micros[0]:
            yield job.collate, micro
    for micro in job.eval_batches:
        assert job.eval_collate is not None
        yield job.eval_collate, micro


def _lines(args: tuple[Any, ...], options: dict[str, Any]) -> dict[str, torch.Tensor] | None:
    """The lines that a call hands the body; None where it hands it something else as well."""
    named = {**dict(zip(LINES, args, strict=False)), **options}
    given = {n: x for n, x in named.items() if isinstance(x, torch.Tensor)}
    known = set(given) <= set(LINES) and "input_ids" in given and len(args) <= 1
    asked = any(options.get(n) for n in ("output_hidden_states", "output_attentions"))
    return given if known and not asked else None


def _keys(given: dict[str, torch.Tensor]) -> list[bytes]:
    """A digest of each row's ids and kinds, padding left out."""
    ids, mask = given["input_ids"], given.get("attention_mask")
    kinds = given.get("token_type_ids")
    seen = torch.ones_like(ids).bool() if mask is None else mask.bool()
    found = []
    for row in range(len(ids)):
        digest = blake2b(ids[row][seen[row]].cpu().numpy().tobytes(), digest_size=16)
        if kinds is not None:
            digest.update(b"kinds" + kinds[row][seen[row]].cpu().numpy().tobytes())
        found.append(digest.digest())
    return found


def _first(field: torch.Tensor) -> torch.Tensor:
    """Of one row: its line of numbers, (hidden) or (1, hidden)."""
    return field if field.dim() == 1 else field[:1]
