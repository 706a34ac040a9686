"""The nouns of the pipeline, from rows to metrics.

Small frozen types from the standard library only. Nothing later writes back into anything earlier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it was read: its value, or why it could not be read (``problem``)."""

    source: str  # the path or hub id, as the recipe writes it
    number: int  # 1-based: the line of a text file, else the position in the source
    value: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. ``role`` is one of ``ROLES``, or "text" for plain text that has no roles.

    ``context`` is what stands apart from an instruction (alpaca's input); templates that have no
    place of their own for it put it behind the content after an empty line.
    """

    role: str
    content: str
    context: str = ""
    shown: bool = False  # a turn of a demonstration, which is not trained
    # Demonstrations in the content: character i of ``cuts`` is where the i-th begins, and the last
    # one where the content's own words do.
    cuts: tuple[int, ...] = ()

    @property
    def own(self) -> str:
        """The content without an intro and demonstrations."""
        return self.content[self.cuts[-1] :] if self.cuts else self.content


@dataclass(frozen=True, slots=True)
class Example:
    """What a row says, whatever format it came in.

    Training renders all ``messages``. For evaluation the last assistant message is taken off: it is
    the first reference, and ``references`` holds further ones.
    """

    messages: tuple[Message, ...]
    references: tuple[str, ...] = ()
    label: str | None = None  # for classification
    choices: tuple[str, ...] = ()  # the answers that there are for this row, if it says so
    template: str = ""  # the prompt template that wrote it
    origin: str = ""  # stands for the row, where templates write it one way or another

    @property
    def shots(self) -> int:
        """How many demonstrations stand before its question."""
        return sum(len(m.cuts[1:]) + (m.shown and m.role == "user") for m in self.messages)

    @property
    def texts(self) -> tuple[str, ...]:
        """What people wrote in it."""
        return tuple(part for m in self.messages for part in (m.content, m.context) if part)

    @property
    def words(self) -> tuple[str, ...]:
        """All its text, which tells it from other examples; or what stands for its row."""
        if self.origin:
            return (self.origin,)
        turns = ((m.role, m.content, m.context) for m in self.messages)
        return (*(part for turn in turns for part in turn), self.label or "")


@dataclass(frozen=True, slots=True)
class Labelled:
    """What a row says where something is to be said of a text, and not written.

    ``texts`` is a text or a pair of them; of a row of tags its words; of a row of choices what
    stands before them, and then the choices. ``target`` is a label, a tuple of labels (or of tags,
    one a word), a number, or answers with the characters where they begin.
    """

    texts: tuple[str, ...]
    target: Any

    @property
    def words(self) -> tuple[str, ...]:
        """All its text, which tells it from other examples."""
        return (*self.texts, repr(self.target))

    @property
    def messages(self) -> tuple[Message, ...]:
        """The same as a conversation: the texts are asked, and what is said of them answered."""
        said = self.target if isinstance(self.target, tuple) else (self.target,)
        words = [one[0] if isinstance(one, tuple) else str(one) for one in said]
        asked = Message("user", "\n".join(self.texts))
        return asked, Message("assistant", ", ".join(dict.fromkeys(words)))

    @property
    def references(self) -> tuple[str, ...]:
        """It has no further right answers."""
        return ()


@dataclass(frozen=True, slots=True)
class Task:
    """What a model is for: ``kind`` names its head, ``labels`` what that tells apart, in order.

    ``counts`` is how often each label is there in the training rows.
    """

    kind: str = "causal_lm"
    labels: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Tokens:
    """An example as token ids; ``trained[i]`` says whether ``ids[i]`` is a target of the loss.

    ``prompt_length`` tokens stand before the first trained one; ``truncated`` tokens were cut off.
    """

    ids: Sequence[int]
    trained: Sequence[bool]
    prompt_length: int = 0
    truncated: int = 0
    shots_cut: int = 0  # demonstrations among what was cut off


@dataclass(frozen=True, slots=True)
class Encoded(Tokens):
    """A labelled example as token ids and ``targets``, of which ``count`` are in the loss.

    ``kinds`` is the token type of each id (0 for the first text of a pair, 1 for the second), empty
    where the model knows none. ``lines`` are the lengths of the lines that the ids fall into, empty
    for one line: several go through the model side by side. ``trained`` marks what the targets
    stand at: tokens, or all of them where the target is one of the whole.
    """

    targets: Sequence[float] = ()
    count: int = 0
    kinds: Sequence[int] = ()
    lines: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked at evaluation: rendered text and ids, and the references if any."""

    ids: Sequence[int]
    text: str
    references: tuple[str, ...] = ()
    source: str = ""
    row: int = 0
    choices: tuple[str, ...] = ()  # the answers that there are for this row, if it says so
    task: str = ""  # of a model that was trained for several, the one that is asked


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch of tensors, padded on the right or packed.

    ``input_ids``, ``position_ids`` and ``labels`` are int64 of shape (batch, length); ``labels`` is
    -100 where nothing is trained and is not shifted: the token at i is predicted from i - 1.
    ``attention_mask`` is (batch, length), 1 for a token and 0 for padding, or None for packed rows:
    then ``position_ids`` starts again at 0 with each example, and no example sees another.
    """

    input_ids: Any
    labels: Any
    position_ids: Any
    attention_mask: Any | None
    rows: tuple[int, ...]  # indices into the tokens file
    count: int  # trained tokens of this batch
    examples: int = 0  # examples of this batch (packing puts several into one line)
    # Of labelled rows: float64 of shape (rows, most targets of a row), -100 where there is none,
    # and the type of each token, int64 like input_ids, where the model knows types.
    targets: Any | None = None
    token_type_ids: Any | None = None
    lines: tuple[int, ...] = ()  # how many lines each row has; they stand one after the other
    tasks: Any | None = None  # the task of each line, int64, of a model that is trained for several

    def to(self, device: Any) -> Batch:
        """The batch with its tensors on ``device``."""
        there = {one.name: getattr(self, one.name) for one in fields(self)}
        tensors = {name: value for name, value in there.items() if hasattr(value, "to")}
        return replace(self, **{n: t.to(device, non_blocking=True) for n, t in tensors.items()})


@dataclass(frozen=True, slots=True)
class LossSum:
    """A loss as a sum over ``count`` targets; the loop divides once by the global count."""

    total: Any  # scalar tensor with gradient
    count: int
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ranked:
    """How likely a model finds an answer that it is given: summed nats, and of how many tokens.

    ``end_loss`` and ``end_tokens`` are those of its end mark, which the first two leave out.
    """

    text: str
    loss: float
    tokens: int
    end_loss: float = 0.0
    end_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model answered to one prompt.

    ``finish`` is "stop" (end mark or stop string), or "length" (max_new_tokens reached).
    ``loss_sum`` over ``loss_count`` reference tokens is there where a likelihood was asked for.
    """

    row: int
    prompt: str
    text: str
    references: tuple[str, ...] = ()
    source: str = ""
    finish: str = ""
    tokens: int = 0
    loss_sum: float | None = None
    loss_count: int = 0
    loss_bytes: int = 0  # UTF-8 bytes of the reference, for figures that compare across tokenizers
    scores: tuple[float, ...] = ()  # of the labels, in their order: probabilities
    choices: tuple[str, ...] = ()  # the answers that there are for this row, if it says so
    ranked: tuple[Ranked, ...] = ()  # where a likelihood of given answers was asked for
    # Where a head says labels: those that it says, and those that are right; both exactly.
    labels_said: tuple[str, ...] | None = None
    labels_right: tuple[str, ...] = ()
    multi_label: bool = False  # whether a row may have several of them, or none


@dataclass(frozen=True, slots=True)
class Rows:
    """What a figure is made of, so that it can be computed again on drawn rows.

    ``values`` has a tuple of as many numbers for each prediction, in their order; ``combine`` makes
    the figure of the sums of such tuples, and may divide by zero where they have no figure.
    """

    values: Sequence[Sequence[float]]
    combine: Callable[[Sequence[float]], float]


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure: ``value`` in ``unit``, and the ``signature`` that makes it comparable.

    ``higher_is_better`` is None for a figure that only describes, such as a length. ``rows`` is
    None where the figure is not one of sums over rows: then it has no test, and no interval but
    the one of 95% that the metric gives itself.
    """

    name: str
    value: float
    unit: str = ""
    signature: str = ""
    higher_is_better: bool | None = True
    rows: Rows | None = field(default=None, compare=False, repr=False)
    interval: tuple[float, float] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Report:
    """What a stage says of itself; written to its report.json.

    ``summary`` lines are for people; ``figures`` and ``tables`` are for machines as well.
    """

    stage: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    summary: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
