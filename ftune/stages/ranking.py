"""The answers among which a model is to choose: as tokens behind a prompt, and how likely it finds
them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ftune.errors import DataError
from ftune.registry import METRICS
from ftune.run.progress import Progress
from ftune.types import Example, Message, Prediction, Prompt, Ranked

WHOLE = 2**31 - 1  # tokens: nothing is cut


@dataclass(frozen=True)
class Option:
    """An answer as ids, of which the last ``ends`` are its end mark."""

    text: str
    ids: Sequence[int]
    ends: int


Options = tuple[Option, ...]  # the answers of a row


def ranks(metric: Any) -> bool:
    """Whether a chosen metric is of the likelihood of given answers."""
    return bool(METRICS.load(metric.name).NEEDS == "choices")


def choices(chosen: Sequence[Any], example: Example) -> tuple[str, ...]:
    """The answers that metrics which rank want of a row; none where no metric ranks."""
    ranking = [one.config for one in chosen if ranks(one)]
    named = [text for config in ranking for text in config.choices]
    own = example.choices if any(not config.choices for config in ranking) else ()
    return tuple(dict.fromkeys((*named, *own)))


def answered(example: Example, text: str) -> Example:
    """The example with another answer."""
    last: Message = example.messages[-1]
    return replace(example, messages=(*example.messages[:-1], replace(last, content=text)))


def behind(example: Example, texts: Sequence[str], template: Any, rules: Any) -> Options:
    """Each answer as the tokens that stand behind the prompt, as training would have them.

    Raises:
        DataError: the example has no question, or an answer can't be written as tokens.
    """
    from ftune.data.render import answer_is_all, prompt, tokens
    from ftune.data.rules import Dropped

    if not texts:
        return ()
    if answer_is_all(example):
        raise DataError("is text without a question, to which there are no answers to rank")
    rules = replace(rules, max_length=WHOLE)
    asked = prompt(example, template, rules)
    assert not isinstance(asked, Dropped)
    found = []
    for text in texts:
        whole = tokens(answered(example, text), template, rules)
        if isinstance(whole, Dropped):
            raise DataError(f"its choice {text!r} can't be ranked: {whole.reason}")
        start = len(asked.ids)
        ids = [i for i, on in zip(whole.ids[start:], whole.trained[start:], strict=True) if on]
        found.append(option(text, ids, template.stop_ids))
    return tuple(found)


def option(text: str, ids: Sequence[int], stop_ids: Sequence[int]) -> Option:
    """An answer with its end mark told apart.

    Raises:
        DataError: nothing but the mark is left of it.
    """
    ends = 0
    while ends < len(ids) and ids[len(ids) - 1 - ends] in stop_ids:
        ends += 1
    if ends == len(ids):
        raise DataError(f"the tokenizer makes no token of the choice {text!r}; write another")
    return Option(text, list(ids), ends)


@dataclass(frozen=True)
class Ranking:
    """Prompts with the answers that each has, and the metrics that want them ranked."""

    prompts: Sequence[Prompt]
    options: Sequence[Options]
    chosen: Sequence[Any]

    def ranked(
        self,
        model: Any,
        pad: int,
        predictions: Sequence[Prediction],
        batch_size: int,
        progress: Progress,
        between: Callable[[], object],
    ) -> list[Prediction]:
        """Predictions with the likelihoods of their answers, the best as text where none is there.

        Raises:
            DataError: a row names no answers.
        """
        from ftune.evaluate.choosing import Asked, token_losses

        places = [at for at, options in enumerate(self.options) if options]
        asked = [
            Asked(prompt.ids, [one.ids for one in self.options[at]], prompt.task)
            for at, prompt in enumerate(self.prompts)
            if self.options[at]
        ]
        losses = token_losses(model, asked, pad, batch_size, progress, between)
        found = list(predictions)
        metric = next(one for one in self.chosen if ranks(one))
        for at, of_row in zip(places, losses, strict=True):
            told = [_ranked(*pair) for pair in zip(self.options[at], of_row, strict=True)]
            found[at] = replace(found[at], ranked=tuple(told))
            if not found[at].finish:
                best = METRICS.load(metric.name).best(found[at], metric.config)
                found[at] = replace(found[at], text=best)
        return found


def _ranked(one: Option, losses: Sequence[float]) -> Ranked:
    own = len(one.ids) - one.ends
    return Ranked(one.text, sum(losses[:own]), own, sum(losses[own:]), one.ends)
