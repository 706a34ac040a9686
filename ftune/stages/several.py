"""Several adapters behind ``ftune generate``: each asked as trained, on one base in memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftune.errors import DataError, ModelError, RecipeError
from ftune.recipe.schema import Recipe
from ftune.recipe.view import View
from ftune.run import atomic
from ftune.run.progress import Progress
from ftune.run.stage import Place
from ftune.stages import prompting, tasks
from ftune.stages.models import load_base
from ftune.stages.target import Found, find

if TYPE_CHECKING:
    from ftune.evaluate.answering import Answerer

NAMED = re.compile(r"([\w.-]+)=(.+)", re.DOTALL)
MARKS = ("adapter_config.json", "delta_config.json", "ftune.json")  # of an adapter's folder


@dataclass(frozen=True)
class Speaker:
    """A trained part with the recipe by which it is asked; ``home`` is where its paths start."""

    name: str
    adapter: Path
    recipe: Recipe
    home: Path


def speakers(
    found: Found,
    wanted: Sequence[str],
    overrides: Sequence[str],
    runs_dir: Path,
    allow_code: bool,
) -> tuple[Speaker, ...]:
    """The target's own part and those of ``wanted``: runs or adapters' folders, or NAME=that.

    Without a name one is called as its run, with the run's number where names would be alike, or as
    its folder.

    Raises:
        RecipeError: there is no such run or folder, or two have the same name.
        RunError: a run is not trained.
    """
    here = [("", _of_run("", found))]
    for text in wanted:
        name, target = _split(text)
        here.append((name, _speaker(name, target, found, overrides, runs_dir, allow_code)))
    plain = [s.name for _, s in here]
    named = [
        Speaker(_longer(s), s.adapter, s.recipe, s.home)
        if not name and plain.count(s.name) > 1
        else s
        for name, s in here
    ]
    names = [s.name for s in named]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise RecipeError(
            f"--adapter: {', '.join(twice)} names two adapters (the target's own is one of them); "
            "name them apart: --adapter NAME=PATH"
        )
    return tuple(named)


def _split(text: str) -> tuple[str, str]:
    match = None if Path(text).exists() else NAMED.fullmatch(text)
    return (match[1], match[2]) if match else ("", text)


def _longer(speaker: Speaker) -> str:
    """The name with the run's number, for one of a run."""
    run = speaker.adapter.resolve().parents[1]
    is_run = (run / "run.json").is_file()
    return f"{speaker.name}/{run.name}" if is_run else speaker.name


def _of_run(name: str, found: Found) -> Speaker:
    run = found.trained()
    recipe = found.loaded.recipe
    called = name or run.folder.resolve().parent.name
    return Speaker(called, run.stage("train") / "adapter", recipe, found.folder)


def _speaker(
    name: str,
    target: str,
    main: Found,
    overrides: Sequence[str],
    runs_dir: Path,
    allow_code: bool,
) -> Speaker:
    folder = Path(target)
    if not any((folder / mark).is_file() for mark in MARKS):
        try:
            return _of_run(name, find(target, overrides, runs_dir, allow_code))
        except RecipeError as error:
            raise RecipeError(f"--adapter: {error} (and it is no adapter's folder)") from error
    run = folder.resolve().parents[1]
    if (run / "run.json").is_file():
        return _of_run(name, find(str(run), overrides, runs_dir, allow_code))
    recipe = main.loaded.recipe
    path = folder / prompting.NAME
    told = atomic.read_json(path) if path.is_file() else {}
    if "template" in told:
        how = {"template": told["template"]["name"], "system_prompt": told["system_prompt"]}
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update=how)})
    return Speaker(name or folder.resolve().name, folder, recipe, main.folder)


class Several:
    """The speakers on one base, one of which answers; all are read and checked at the start."""

    def __init__(
        self,
        parts: Sequence[Speaker],
        keys: Sequence[str],
        allow_code: bool,
        progress: Progress,
    ) -> None:
        """Loads the base of the first one, and all trained parts.

        Raises:
            RecipeError: the model says labels.
            ModelError: one stands on another base, or would not be asked as it was trained.
        """
        from ftune.model.switching import Switcher

        self._parts = {s.name: s for s in parts}
        self._views = {s.name: View(s.recipe, "", keys, set()) for s in parts}
        self.now = parts[0].name
        first = self._views[self.now]
        for speaker in parts:
            _check_kind(speaker, self._views[speaker.name], first)
            _check_alike(parts[0], speaker, progress)
        base = load_base(first, allow_code, tasks.told_in(parts[0].adapter))
        self._tokenizer = base.tokenizer
        self._switcher = Switcher(base)
        for s in parts:
            place = Place(s.home, allow_code)
            prompting.check(s.adapter, self._views[s.name], self._tokenizer, place, progress)
            self._switcher.add(s.name, s.adapter, progress)
            progress.say(f"adapter {s.name}: {s.adapter}")

    @property
    def names(self) -> tuple[str, ...]:
        """Those that can be asked."""
        return tuple(self._parts)

    def use(self, name: str) -> Answerer:
        """Another one, ready to answer; the one before must not be asked any more.

        Raises:
            DataError: there is none of this name.
        """
        from ftune.stages.answer import made

        if name not in self._parts:
            raise DataError(f"there is no adapter {name!r}; there are {', '.join(self.names)}")
        self.now = name
        view = self._views[name]
        return made(self._switcher.use(name), self._tokenizer, view, self._parts[name].home)

    def batch_size(self, name: str) -> int:
        """How many questions its recipe asks at once."""
        found: int = self._views[name].evaluate.batch_size
        return found


def _check_kind(speaker: Speaker, recipe: View, first: View) -> None:
    from ftune.model import manifest

    objective = recipe.train.objective.name
    if manifest.tasks(speaker.adapter):
        raise RecipeError(
            f"--adapter: {speaker.name} was trained for several tasks; ask it alone, with --task"
        )
    if tasks.writes(recipe) != tasks.writes(first):
        raise RecipeError(
            f"--adapter: {speaker.name} is of train.objective: {objective}, and the first one of "
            f"{first.train.objective.name}, which no base has in common"
        )
    if tasks.is_labelled(recipe) and not tasks.writes(recipe):
        raise RecipeError(
            f"--adapter: {speaker.name} is of train.objective: {objective}, "
            "whose model says labels through a head of its own; ask each such run by itself"
        )


def _check_alike(first: Speaker, other: Speaker, progress: Progress) -> None:
    """Refuses another vocabulary, and says where the base is not the one of the training.

    That its weights are the same is checked when the part is read.
    """
    ours, theirs = first.recipe.model, other.recipe.model
    if ours.add_tokens != theirs.add_tokens:
        raise ModelError(
            f"--adapter: {other.name} has model.add_tokens {_words(theirs.add_tokens)} and "
            f"{first.name} {_words(ours.add_tokens)}, so their bases have other vocabularies; "
            "generate with each by itself"
        )
    for key in ("quantization", "dtype"):
        if getattr(ours, key) != getattr(theirs, key):
            progress.warn(
                f"--adapter: {other.name} was trained with another model.{key} than {first.name}, "
                "on whose base it is asked here: its answers may differ from those of its own run"
            )


def _words(tokens: Sequence[Any]) -> str:
    return ", ".join(map(str, tokens)) or "none"
