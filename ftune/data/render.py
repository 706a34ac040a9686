"""Example + template -> tokens and their mask: the only birthplace of a loss mask.

A prompt's ids are always the beginning of the ids that the same conversation has in training: both
come from ``_plan``, and a run ends where an assistant begins to speak, so that a token never holds
the end of a prompt and the beginning of an answer.

What is trained (``data.train_on``): "assistant" trains what the assistant writes in every turn,
its end marks included; "completion" in the last turn only; "all" trains every token but the first,
which nothing stands before. Text without roles is always trained as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from ftune.data.encoding import Encoder
from ftune.data.layout import Part, lay_out
from ftune.data.rules import Dropped, Rules
from ftune.data.shortening import fewer, shortened
from ftune.data.templating import Segment, Template
from ftune.errors import DataError
from ftune.types import Example, Message, Prompt, Tokens

AT_ONCE = 256  # examples encoded together: the tokenizer works on them in parallel

Rendered = Tokens | Dropped | DataError


def tokens(example: Example, template: Template, rules: Rules) -> Tokens | Dropped:
    """The example as ids with their mask, or why it is dropped.

    Raises:
        DataError: it can't be written in this template, or is too long and the rules say so.
    """
    done = next(many([example], template, rules))
    if isinstance(done, DataError):
        raise done
    return done


def many(examples: Iterable[Example], template: Template, rules: Rules) -> Iterator[Rendered]:
    """The same for many, in order and faster; an error is given back in the example's place."""
    rest = iter(examples)
    while batch := list(islice(rest, AT_ONCE)):
        yield from _batch(batch, template, rules)


def encoding(template: Template, rules: Rules) -> Callable[[Sequence[Example]], Iterator[Rendered]]:
    """``many`` with this template and these rules."""
    return lambda examples: many(examples, template, rules)


def _batch(examples: Sequence[Example], template: Template, rules: Rules) -> Iterator[Rendered]:
    plans: list[list[Part] | DataError] = []
    for example in examples:
        try:
            segments = template.segments(example.messages)
            plans.append(lay_out(segments, template.encoder, template.bos))
        except DataError as error:
            plans.append(error)
    _encode([plan for plan in plans if isinstance(plan, list)], template.encoder)
    for example, plan in zip(examples, plans, strict=True):
        if isinstance(plan, DataError):
            yield plan
            continue
        try:
            yield _fitted(plan, example.messages, template, rules)
        except DataError as error:
            yield error


def _fitted(
    plan: list[Part], messages: Sequence[Message], template: Template, rules: Rules
) -> Tokens | Dropped:
    """The ids with their mask; where they are too long, demonstrations go first, each whole."""
    length = _length(plan)
    turns, plan, shots_cut = _fewer(plan, messages, template, rules)
    done = _masked(plan, turns, template.encoder, rules)
    if isinstance(done, Dropped) or not shots_cut:
        return done
    return replace(done, truncated=length - len(done.ids), shots_cut=shots_cut)


def _fewer(
    plan: list[Part],
    messages: Sequence[Message],
    template: Template,
    rules: Rules,
    ask: bool = False,
) -> tuple[Sequence[Message], list[Part], int]:
    """The messages with so many demonstrations as have room, their parts, and how many went."""
    gone = 0
    if rules.on_too_long in {"truncate", "truncate_prompt"}:
        while _length(plan) > rules.max_length and (less := fewer(messages)):
            messages, gone = less, gone + 1
            plan = lay_out(template.segments(messages, ask), template.encoder, template.bos)
            _encode([plan], template.encoder)
    return messages, plan, gone


def _length(plan: Sequence[Part]) -> int:
    return sum(len(part.ids) for part in plan)


def _encode(plans: Sequence[list[Part]], encoder: Encoder) -> None:
    """Fills in the ids of the parts of many examples at once."""
    parts = [part for plan in plans for part in plan if part.run is not None]
    runs = [part.run for part in parts if part.run is not None]
    for part, ids in zip(parts, encoder.encode(runs), strict=True):
        part.ids = ids


def _masked(
    plan: list[Part], messages: Sequence[Message], encoder: Encoder, rules: Rules
) -> Tokens | Dropped:
    """The ids with their mask, not longer than allowed."""
    last = max((part.turn for part in plan if part.spoken), default=-1)
    # A template may put turns of its own first, so what is behind demonstrations counts from last.
    behind = next((i for i, m in enumerate(reversed(messages)) if m.shown), len(messages))
    for part in plan:
        own = part.turn > last - behind
        part.trained = rules.train_on == "all" or (
            part.spoken and own and (rules.train_on == "assistant" or part.turn == last)
        )
    length = _length(plan)
    cut = 0
    if length > rules.max_length:
        shorter = shortened(plan, length, encoder, rules, Example(tuple(messages)).shots)
        if isinstance(shorter, Dropped):
            return shorter
        plan = shorter
        cut = length - _length(plan)
    ids = [token for part in plan for token in part.ids]
    trained = [part.trained for part in plan for _ in part.ids]
    if trained:
        trained[0] = False  # nothing stands before it that could predict it
    if True not in trained:
        return Dropped("answer cut away" if cut else "nothing to train")
    return Tokens(ids, trained, trained.index(True), cut)


def prompt(
    example: Example, template: Template, rules: Rules, source: str = "", row: int = 0
) -> Prompt | Dropped:
    """The question of an example: all before its last answer, and the opening of that answer.

    The references are that answer and the example's further ones. A prompt that is longer than
    ``rules.max_length`` is an error, dropped, or cut from the left.

    Raises:
        DataError: it has no answer at its end, can't be written, or is too long.
    """
    if not example.messages or example.messages[-1].role not in {"assistant", "text"}:
        raise DataError("does not end with an assistant's answer, so nothing can be asked")
    answer = example.messages[-1].content
    asked = example.messages if answer_is_all(example) else example.messages[:-1]
    references = tuple(dict.fromkeys((answer, *example.references)))
    made = _ask(asked, template, rules, references, source, row)
    return replace(made, choices=example.choices) if isinstance(made, Prompt) else made


def answer_is_all(example: Example) -> bool:
    """Whether the example is text without roles, which has no question."""
    return example.messages[-1].role == "text"


def prompt_text(messages: Sequence[Message], template: Template, rules: Rules) -> Prompt:
    """What a model is asked after these messages, the last of which is not an assistant's.

    Raises:
        DataError: the messages can't be written, or are too long.
    """
    asked = _ask(messages, template, rules, (), "", 0)
    if isinstance(asked, Dropped):
        raise DataError(f"the prompt has more than {rules.max_length} tokens; make it shorter")
    return asked


def _ask(
    messages: Sequence[Message],
    template: Template,
    rules: Rules,
    references: tuple[str, ...],
    source: str,
    row: int,
) -> Prompt | Dropped:
    segments = template.segments(messages, ask=True)
    plan = lay_out(segments, template.encoder, template.bos)
    _encode([plan], template.encoder)
    messages, plan, gone = _fewer(plan, messages, template, rules, ask=True)
    if gone:
        segments = template.segments(messages, ask=True)
    length = _length(plan)
    if length > rules.max_length:
        shots = Example(tuple(messages)).shots
        shorter = shortened(plan, length, template.encoder, rules, shots, asking=True)
        if isinstance(shorter, Dropped):
            return shorter
        plan = shorter
    ids = [token for part in plan for token in part.ids]
    return Prompt(ids, _text(segments), references, source, row)


def _text(segments: Sequence[Segment]) -> str:
    return "".join(segment.text for segment in segments)
