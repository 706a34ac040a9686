"""Behind ``ftune inspect``: what a run's training made, read from its adapter and its base."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ftune.errors import RecipeError
from ftune.run.progress import Progress
from ftune.stages import choosing, tasks
from ftune.stages.target import Found

if TYPE_CHECKING:
    from ftune.model.loading import Loaded


def inspect_run(found: Found, top_k: int, allow_code: bool, progress: Progress) -> dict[str, Any]:
    """``kind`` prompt, with the vectors' nearest tokens, or changes, with the weights' changes.

    Raises:
        RecipeError: ``top_k`` is below 1.
        RunError: the run is not trained.
        ModelError: what was trained is damaged, or can't be read so.
    """
    from ftune.model import changes, manifest, nearest

    if top_k < 1:
        raise RecipeError(f"--top-k: {top_k} names no token; give 1 or more")
    run = found.trained()
    folder = run.stage("train") / "adapter"
    vectors = changes.prompt_vectors(folder)
    about = {"run": str(run), "method": found.loaded.recipe.tune.name}
    base = _base(found, allow_code)
    if vectors is not None:
        table = base.model.get_input_embeddings().weight.detach()
        read = nearest.read_prompt(vectors, table, base.tokenizer, top_k)
        shown = asdict(read)
        if tasks_of := manifest.tasks(folder):
            each = len(shown["places"]) // len(tasks_of)
            for place in shown["places"]:
                place["task"] = tasks_of[place["number"] // each]
                place["number"] %= each
        return {**about, "kind": "prompt", **shown}
    again = changes.changes_base(folder)
    if again:
        progress.say("inspect: the adapter changes the base itself, which is read twice for it")
    made = changes.changes(base, folder, _base(found, allow_code).model if again else None)
    told = [{**asdict(c), "relative": c.relative} for c in made]
    layers = [{**asdict(c), "relative": c.relative} for c in changes.by_layer(made)]
    bare = _of_rank_0(found)
    return {
        **about, "kind": "changes", "modules": told, "layers": layers, "of_rank_0": bare,
        "beside": changes.beside(folder),
    }  # fmt: skip


def _of_rank_0(found: Found) -> list[str]:
    """The layers to which the data gave no rank, where the data gave ranks."""
    from safetensors.torch import load_file

    path = found.trained().stage("load") / choosing.FILE
    if getattr(found.loaded.recipe.tune.config, "init_lora_weights", None) != "eva":
        return []
    given = load_file(path) if path.is_file() else {}
    return [n.removeprefix("base_model.model.") for n, t in given.items() if not len(t)]


def _base(found: Found, allow_code: bool) -> Loaded:
    """The run's base in float32 on the CPU, not quantized: small changes would be rounded away."""
    from ftune.model.loading import load_model, load_tokenizer
    from ftune.model.merging import plain_section

    section = plain_section(found.loaded.recipe.model)
    adapter = found.trained().stage("train") / "adapter"
    tokenizer = load_tokenizer(section, allow_code)
    return load_model(section, tokenizer, allow_code=allow_code, task=tasks.told_in(adapter))
