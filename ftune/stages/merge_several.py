"""Behind ``ftune merge RUN1 RUN2 ...``: several runs' adapters and their base as one model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ftune.errors import RecipeError
from ftune.recipe.schema import Model
from ftune.run import atomic
from ftune.run.directory import RunDirectory
from ftune.run.lock import locked
from ftune.run.progress import Progress
from ftune.stages import merge, prompting, tasks
from ftune.stages.target import Found
from ftune.types import Report

if TYPE_CHECKING:
    from ftune.model.combining import Combined, How
    from ftune.model.merging import Proof

METHODS = ("sum", "linear", "ties", "dare_linear", "dare_ties")
WITH_DENSITY = ("ties", "dare_linear", "dare_ties")
RANDOM = ("dare_linear", "dare_ties")
SAME = ("template", "system_prompt", "stop", "stop_ids")  # of a contract, for one way of asking


@dataclass(frozen=True)
class Wish:
    """What the command line says of how adapters are put together; None where it says nothing."""

    weights: str | None = None
    how: str | None = None
    density: float | None = None
    seed: int | None = None

    def empty(self) -> bool:
        """Whether it says nothing."""
        return self == Wish()


def merge_runs(
    found: Sequence[Found],
    wish: Wish,
    output: Path | None,
    dtype: str,
    allow_code: bool,
    progress: Progress,
) -> Report:
    """Merges the runs' adapters into one model in ``output``.

    Raises:
        RecipeError: the options don't fit together, or there is no ``output``.
        RunError: a run is not trained.
        ModelError: the adapters can't be put together, or the merged model is not equal.
    """
    from ftune.model.combining import merge_several

    runs = [each.trained() for each in found]
    how = _how(wish, len(runs))
    if dtype not in merge.DTYPES:
        raise RecipeError(f"--dtype: {dtype!r} is none of {', '.join(merge.DTYPES)}")
    if output is None:
        raise RecipeError("several runs: name the merged model's folder with --output")
    names = [str(run) for run in runs]
    if len({run.folder.resolve() for run in runs}) < len(runs):
        raise RecipeError("a run is named twice; name it once, with a larger weight")
    folders = {n: run.stage("train") / "adapter" for n, run in zip(names, runs, strict=True)}
    for name, folder in folders.items():
        task = tasks.told_in(folder)
        if task is not None:
            raise RecipeError(
                f"{name}: its model is for {task.kind}, and only those of language models (sft) "
                "are put together; merge it by itself"
            )
    one_way = _asked_alike(list(folders.values()))
    reports: list[Report] = []

    def finish(part: Path, proof: Proof, told: Combined) -> None:
        figures = {"output": str(output), "runs": names, **_how_told(how)}
        figures |= {**asdict(told), **asdict(proof)}
        first = f"{len(runs)} adapters merged into {output} ({proof.dtype})"
        lines = (first, *_told(names, how, told, one_way), *merge.told(proof))
        reports.append(merge.written(part, Report("merge", figures, lines)))

    with ExitStack() as held:
        for run in runs:
            held.enter_context(locked(run.folder))
        merge_several(
            _section(found),
            folders,
            output,
            how,
            rows={n: _rows(run) for n, run in zip(names, runs, strict=True)},
            dtype=dtype,
            beside=[prompting.NAME] if one_way else [],
            finish=finish,
            allow_code=allow_code,
            progress=progress,
        )
    return reports[0]


def _section(found: Sequence[Found]) -> Model:
    """The model section of a run that was quantized, if one was: the report says what it meant."""
    sections = [each.loaded.recipe.model for each in found]
    return next((s for s in sections if s.quantization), sections[0])


def _how(wish: Wish, count: int) -> How:
    from ftune.model.combining import How

    name = wish.how or "sum"
    if name not in METHODS:
        raise RecipeError(f"--how: {name!r} is none of {', '.join(METHODS)}")
    if name in WITH_DENSITY and (wish.density is None or not 0 < wish.density <= 1):
        raise RecipeError(
            f"--how {name}: needs --density, the share of numbers that is kept: above 0, at most 1"
        )
    if name not in WITH_DENSITY and wish.density is not None:
        raise RecipeError(f"--density: {name} keeps all numbers; leave it out, or take --how ties")
    if name not in RANDOM and wish.seed is not None:
        raise RecipeError(f"--seed: {name} draws nothing; leave it out")
    return How(name, _weights(wish.weights, count), wish.density, wish.seed or 0)


def _weights(text: str | None, count: int) -> tuple[float, ...]:
    if text is None:
        return (1 / count,) * count
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise RecipeError(f"--weights: {text!r} is no list of numbers such as 0.5,0.5") from error
    if len(found) != count:
        raise RecipeError(f"--weights: {len(found)} weights for {count} runs; give one for each")
    if not all(math.isfinite(w) and w != 0 for w in found):
        raise RecipeError(f"--weights: {text!r}: a weight is 0 or no number; leave such a run out")
    return found


def _asked_alike(folders: Sequence[Path]) -> bool:
    """Whether all were trained with the same template, system prompt and ends of answers."""
    paths = [folder / prompting.NAME for folder in folders]
    if not all(path.is_file() for path in paths):
        return False
    told = [atomic.read_json(path) for path in paths]
    return all(one.get(key) == told[0].get(key) for one in told for key in SAME)


def _rows(run: RunDirectory) -> list[tuple[list[int], list[bool]]]:
    """Rows that the run held out, or trained on if it held none out, with what was trained."""
    store, count = merge.held_out(run)
    rows = (store[i] for i in range(count)) if store is not None else ()
    return [(ids.tolist(), trained.tolist()) for ids, trained in rows]


def _how_told(how: How) -> dict[str, object]:
    """For the report; the seed of what draws nothing says nothing."""
    found = asdict(how)
    seed = how.seed if how.name in RANDOM else None
    return {"how": found.pop("name"), **found, "seed": seed}


def _told(names: Sequence[str], how: How, told: Combined, one_way: bool) -> Iterator[str]:
    parts = ", ".join(f"{w:g} x {n}" for n, w in zip(names, how.weights, strict=True))
    more = f", density {how.density:g}" if how.density is not None else ""
    more += f", seed {how.seed}" if how.name in RANDOM else ""
    yield f"{how.name} of {parts}{more}"
    if how.name != "sum":
        yield (
            f"what {how.name} adds to the weights is {100 * told.from_sum:.1f}% away from the "
            "weighted sum of what the adapters add"
        )
    for task in told.tasks:
        yield (
            f"loss on rows of {task.adapter} ({task.tokens:,} tokens): base {task.base:.3f}, its "
            f"own adapter {task.alone:.3f}, merged {task.combined:.3f}"
        )
    if not one_way:
        yield (
            "the adapters were trained with other templates or system prompts, so no "
            f"{prompting.NAME} goes with the merged model: ask it for each task as that was trained"
        )
