"""The serving contract: how prompts were rendered in training, kept with what was trained.

``prompting.json`` travels in the adapter's folder and in the merged model's. Whoever asks the model
renders the same prompts again and refuses where an id differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftune.errors import DataError, ModelError
from ftune.recipe.view import View
from ftune.run import atomic
from ftune.run.progress import Progress
from ftune.run.stage import Place
from ftune.stages import labels, tasks
from ftune.types import Example, Message

if TYPE_CHECKING:
    from ftune.data.templating import Template

NAME = tasks.CONTRACT
VERSION = 1
PROMPTS = 3
LONGEST = 2000  # characters of a message that are kept: as good a proof as all of them
UNBOUND = 2**31 - 1  # tokens; prompts of the contract are never cut


class Questions:
    """The questions of the examples that go by: one of each shape first, then the next ones."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[object, ...], tuple[Message, ...]] = {}
        self._more: list[tuple[Message, ...]] = []

    def add(self, example: Example) -> None:
        """Takes the example's question, if it is needed."""
        if len(self._shapes) >= PROMPTS:
            return
        asked = _question(example)
        shape = tuple((m.role, bool(m.context)) for m in asked)
        if asked and shape not in self._shapes:
            self._shapes[shape] = asked
        elif asked and len(self._more) < PROMPTS and asked not in self._shapes.values():
            self._more.append(asked)

    def chosen(self) -> list[tuple[Message, ...]]:
        """At most ``PROMPTS`` of them."""
        return [*self._shapes.values(), *dict.fromkeys(self._more)][:PROMPTS]


def _question(example: Example) -> tuple[Message, ...]:
    last = example.messages[-1]
    if last.role == "text":
        return (Message("user", last.content[:LONGEST]),)
    turns = example.messages[:-1] if last.role == "assistant" else ()
    return tuple(Message(m.role, m.content[:LONGEST], m.context[:LONGEST]) for m in turns)


def contract(
    template: Template,
    system_prompt: str | None,
    tokenizer: Any,
    questions: Sequence[tuple[Message, ...]],
) -> dict[str, Any]:
    """What prompting.json holds."""
    from ftune.data.tokenizer_identity import digest, identity

    prompts = []
    for messages in questions:
        ids = _ids(messages, template)
        if ids is not None:
            prompts.append({"messages": [_plain(m) for m in messages], "ids": ids})
    return {
        "version": VERSION,
        "template": {"name": template.name, "sha256": digest(template.source)},
        "system_prompt": system_prompt,
        "stop": list(template.stop),
        "stop_ids": list(template.stop_ids),
        "tokenizer": identity(tokenizer),
        "prompts": prompts,
    }


def _ids(messages: Sequence[Message], template: Template) -> list[int] | None:
    """The prompt's ids; None where the template can't write it."""
    from ftune.data.render import prompt_text
    from ftune.data.rules import Rules

    try:
        return [int(i) for i in prompt_text(messages, template, Rules(UNBOUND)).ids]
    except (DataError, ModelError):  # the latter of a model for plain text only
        return None


def _plain(message: Message) -> dict[str, str]:
    found = {"role": message.role, "content": message.content, "context": message.context}
    return {key: value for key, value in found.items() if value or key != "context"}


def prompts(told: dict[str, Any]) -> list[tuple[Message, ...]]:
    """The messages of a contract's prompts."""
    return [tuple(Message(**m) for m in one["messages"]) for one in told["prompts"]]


def check(folder: Path, recipe: View, tokenizer: Any, place: Place, progress: Progress) -> None:
    """Refuses to ask the model in ``folder`` otherwise than it was trained.

    ``recipe`` is what prompts would be rendered by now, ``tokenizer`` the one that would do it.

    Raises:
        ModelError: a prompt has other ids, or an answer other ends; it says what differs.
    """
    from ftune.data.templating import load_template

    if tasks.is_labelled(recipe):
        labels.check(folder, recipe, tokenizer, place, progress)
        return
    path = folder / NAME
    if not path.is_file():
        progress.warn(
            f"{folder}: has no {NAME} (it was not saved by ftune), so nobody can tell whether "
            "prompts are rendered as in training"
        )
        return
    told = atomic.read_json(path)
    if "task" in told:
        raise ModelError(
            f"{path}: was trained as {told['task']['kind']}, and the recipe's objective is "
            f"{recipe.train.objective.name}; take the recipe that it was trained with"
        )
    name, system_prompt = recipe.data.template, recipe.data.system_prompt
    template = load_template(name, tokenizer, system_prompt, place.folder)
    now = contract(template, system_prompt, tokenizer, prompts(told))
    wrong = _differences(told, now)
    causes = _causes(told, now)
    if wrong:
        said = "; ".join([*causes, *wrong])
        raise ModelError(f"{path}: prompts would not be rendered as in training: {said}")
    for cause in causes:
        progress.warn(f"{path}: {cause}; the prompts that it holds are the same as in training")


def _differences(told: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What makes the model be asked otherwise, or its answers end elsewhere."""
    found = []
    if told["template"] != now["template"]:
        found.append(_template_changed(told["template"], now["template"]))
    if told["system_prompt"] != now["system_prompt"]:
        found.append(
            f"data.system_prompt was {told['system_prompt']!r} and is {now['system_prompt']!r}: "
            "leave it as it was, and put other system messages into the prompt"
        )
    for key, words in (("stop", "the texts that end an answer"), ("stop_ids", "the end marks")):
        if told[key] != now[key]:
            found.append(f"{words} were {told[key]} and are {now[key]}")
    for number, (before, after) in enumerate(zip(told["prompts"], now["prompts"], strict=False), 1):
        if before["ids"] != after["ids"]:
            at = _first_difference(before["ids"], after["ids"])
            found.append(
                f"prompt {number} of {NAME} has other ids from token {at} on "
                f"({len(before['ids'])} tokens then, {len(after['ids'])} now)"
            )
            break
    if len(told["prompts"]) > len(now["prompts"]):
        found.append(f"a prompt of {NAME} can't be written any more")
    return found


def _template_changed(told: dict[str, str], now: dict[str, str]) -> str:
    if told["name"] != now["name"]:
        return (
            f"data.template was {told['name']} and is {now['name']}: set it to {told['name']}, or "
            "train again with the other one"
        )
    if now["name"] == "tokenizer":
        return (
            "the chat template of the model's tokenizer was changed since: put it back (it is "
            "saved beside the adapter), or train again"
        )
    return f"the template {now['name']} was changed since: put it back, or train again"


def _causes(told: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What of the tokenizer changed, which may explain other ids."""
    words = {"vocabulary": "vocabulary", "rules": "rules of splitting text"}
    return [
        f"the tokenizer's {words[key]} changed since: take the tokenizer that was trained with "
        "(it is saved beside the adapter)"
        for key in words
        if told["tokenizer"].get(key) != now["tokenizer"][key]
    ]


def _first_difference(before: Sequence[int], after: Sequence[int]) -> int:
    pairs = enumerate(zip(before, after, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(before), len(after)))
