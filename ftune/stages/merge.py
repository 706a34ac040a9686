"""Behind ``ftune merge``: a run's adapter and its base as one model, with its proof."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftune.errors import RecipeError, RunError
from ftune.report.markdown import stage_page
from ftune.run import atomic, directory
from ftune.run.directory import RunDirectory
from ftune.run.lock import locked
from ftune.run.progress import Progress
from ftune.stages import prompting, tasks
from ftune.stages.target import Found
from ftune.types import Report

if TYPE_CHECKING:
    from ftune.data.store import TokenStore
    from ftune.model.merging import Proof

ROWS = 16  # of the run's own data, on which base + adapter and the merged model are compared
DTYPES = ("auto", "float32", "bfloat16", "float16")


def merge_run(
    found: Found, output: Path | None, dtype: str, allow_code: bool, progress: Progress
) -> Report:
    """Merges the run's adapter; the model stands in ``output``, or in ``merged`` of the run.

    Raises:
        RecipeError: ``dtype`` is none of those there are.
        RunError: the run is not trained.
        ModelError: there is nothing to merge, or the merged model is not equal.
    """
    from ftune.model.merging import merge

    if dtype not in DTYPES:
        raise RecipeError(f"--dtype: {dtype!r} is none of {', '.join(DTYPES)}")
    run = found.trained()
    folder = output or run.folder / "merged"
    reports: list[Report] = []

    def finish(part: Path, proof: Proof) -> None:
        figures: dict[str, Any] = {"output": str(folder), "run": str(run), **asdict(proof)}
        lines = (f"merged into {folder} ({proof.dtype})", *told(proof))
        reports.append(written(part, Report("merge", figures, lines)))

    with locked(run.folder):
        directory.refuse_links(run.folder)
        merge(
            found.loaded.recipe.model,
            run.stage("train") / "adapter",
            folder,
            rows=_rows(run),
            dtype=dtype,  # type: ignore[arg-type]
            task=tasks.told_in(run.stage("train") / "adapter"),
            beside=[prompting.NAME],
            finish=finish,
            allow_code=allow_code,
            progress=progress,
        )
    return reports[0]


def written(folder: Path, report: Report) -> Report:
    """The report, once it stands in the merged model's folder."""
    atomic.write_json(folder / "report.json", asdict(report))
    atomic.write_text(folder / "report.md", stage_page(asdict(report)))
    return report


def told(proof: Proof) -> Iterator[str]:
    """The proof in words."""
    yield (
        f"compared with base + adapter on {proof.positions:,} tokens: logits differ by at most "
        f"{proof.largest:.2e} (allowed {proof.bound:.2e}), {proof.mean:.2e} in the mean; "
        f"{100 * proof.equal_greedy:.2f}% of greedy tokens are equal"
    )
    if proof.quantized:
        gap = proof.quantized
        yield (
            "the quantized base that was trained on differs from the full one, which the merged "
            f"model stands on, by {gap.largest:.2e} at most and {gap.mean:.2e} in the mean on the "
            f"same tokens (the largest logit is {gap.scale:.3g}); "
            f"{100 * gap.equal_greedy:.2f}% of greedy tokens are equal"
        )
    elif proof.quantized_note:
        yield proof.quantized_note


def _rows(run: RunDirectory) -> list[list[int]]:
    store, count = held_out(run)
    return [first_line(store, i) for i in range(count)] if store is not None else []


def held_out(run: RunDirectory) -> tuple[TokenStore | None, int]:
    """Rows that the run held out, or trained on if it held none out, and how many to compare on.

    Raises:
        RunError: the rows are damaged.
    """
    from ftune.data.store import TokenStore

    folder = run.stage("format")
    for name in ("eval.arrow", "train.arrow"):
        if not (folder / name).is_file():
            continue
        listed = atomic.read_json(folder / "done.json").get("files", {})
        wrong = atomic.damaged(folder, {n: f for n, f in listed.items() if n == name})
        if wrong:
            raise RunError(
                f"{wrong[0]}; `ftune train` with the run's recipe makes it again, then merge"
            )
        if len(store := TokenStore(folder / name)):
            return store, min(ROWS, len(store))
    return None, 0


def first_line(store: TokenStore, index: int) -> list[int]:
    """The ids of a row; the first line of one that has several."""
    ids: list[int] = store[index][0].tolist()
    lines = store.encoded(index).lines if store.labelled else ()
    return ids[: lines[0]] if lines else ids
