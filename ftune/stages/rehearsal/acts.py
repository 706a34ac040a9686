"""The acts of a rehearsal. Each says what it saw, or raises what a user would meet in the run."""

from __future__ import annotations

import gc
import json
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ftune import environment
from ftune.errors import RunError
from ftune.recipe.reading import Loaded, load_recipe
from ftune.recipe.view import View
from ftune.run import atomic, directory
from ftune.run.directory import RunDirectory
from ftune.run.pipeline import fingerprints, run_stages
from ftune.run.progress import Silent
from ftune.run.stage import Surroundings
from ftune.stages import prompting, tasks
from ftune.stages.models import MODEL_KEYS, Tuned, load_base
from ftune.stages.rehearsal.child import Measured, Order
from ftune.stages.rehearsal.miniature import DIES_AT, STEPS, miniature
from ftune.stages.rehearsal.walk import LeftOut, Walk
from ftune.stages.target import Found
from ftune.stages.whole import STAGES, Wish, train_recipe
from ftune.types import Task

SAME = 1e-6  # largest difference of logits or weights, as a share of the largest one
ROWS = 2  # whose logits are compared


def all_rows(walk: Walk) -> str:
    """Every training and evaluation row is read and rendered; a finished format is taken over."""
    recipe = walk.loaded.recipe
    prints = fingerprints(STAGES, recipe, walk.place, set())
    for run in directory.existing(Path(recipe.runs_dir), recipe.name):
        begin, done = (run.stage("format") / f"{name}.json" for name in ("begin", "done"))
        if done.is_file() and atomic.read_json(begin)["fingerprint"] == prints["format"]:
            walk.full = run
            break
    else:
        run = directory.create(walk.folder / "full", recipe.name)
        around = Surroundings(run, walk.place, walk.progress, walk.stop)
        run_stages(STAGES[:1], recipe, around, prints, set())
        walk.full = run
    return "; ".join(atomic.read_json(walk.full.stage("format") / "report.json")["summary"])


def test_rows(walk: Walk) -> str:
    """Every row of data.test is read and rendered, which a run does only after its training."""
    from ftune.model.loading import load_tokenizer
    from ftune.stages import labelled_testing
    from ftune.stages.testing import DATA_KEYS, read_rows

    if not walk.loaded.recipe.evaluate.metrics:
        raise LeftOut("evaluate.metrics names none")
    asked = ("evaluate.stride", "evaluate.metrics")
    view = View(walk.loaded.recipe, "", (*MODEL_KEYS, *DATA_KEYS, *asked), set())
    tokenizer = load_tokenizer(view.model, walk.place.allow_remote_code)
    if (task := _task(walk)) is not None:
        labelled = labelled_testing.read_rows(view, "test", tokenizer, walk.place, task)
        walk.test_rows = len(labelled.prompts)
    else:
        walk.test_rows = len(read_rows(view, "test", tokenizer, walk.place)[0].prompts)
    return f"{walk.test_rows:,} rows"


def _task(walk: Walk) -> Task | None:
    """What the model is for, by all rows; None of a language model."""
    return tasks.told_in(walk.full.stage("format")) if walk.full else None


def _small(walk: Walk, name: str) -> tuple[str, ...]:
    task = _task(walk)
    labels = task.labels if task else ()
    return miniature(walk.loaded.recipe, walk.given, walk.folder / name, labels)


def longest_batch(walk: Walk) -> str:
    """The child: the longest micro-batch for the peak of memory, then a training that is killed."""
    assert walk.full is not None
    answer, order = walk.folder / "measured.json", walk.folder / "order.json"
    wanted = Order(
        recipe=str(walk.loaded.path),
        given=walk.given,
        small=_small(walk, "killed"),
        full=str(walk.full),
        answer=str(answer),
        allow_remote_code=walk.place.allow_remote_code,
    )
    atomic.write_json(order, asdict(wanted))
    done = subprocess.run(
        [sys.executable, "-m", "ftune.stages.rehearsal.child", str(order)],
        env=environment.for_child({}),
        capture_output=True,
        text=True,
        check=False,
    )
    if not answer.is_file():
        if done.returncode == -signal.SIGKILL:
            raise RunError(
                "the longest batch was killed by the system, most likely for want of memory; lower "
                "train.per_device_train_batch_size or data.max_length, or set "
                "train.gradient_checkpointing: true"
            )
        raise RunError(_last_words(done.stderr))
    walk.measured = measured = Measured(**atomic.read_json(answer))
    walk.shared["child"] = done
    return (
        f"{measured.lines} x {measured.width:,} tokens on {measured.device}: peak "
        f"{measured.peak_memory_bytes / 1e9:.2f} GB"
    )


def _last_words(stderr: str) -> str:
    lines = [line for line in stderr.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "the process ended without a word"


def small(walk: Walk, name: str) -> Loaded:
    """The miniature recipe, with runs of its own below ``name``."""
    return load_recipe(walk.loaded.path, _small(walk, name))


def train(walk: Walk) -> str:
    """The stages format, load and train of the miniature."""
    loaded = small(walk, "straight")
    run = directory.create(Path(loaded.recipe.runs_dir), loaded.recipe.name)
    around = Surroundings(run, walk.place, Silent(), walk.stop)
    prints = fingerprints(STAGES, loaded.recipe, walk.place, set())
    reports = run_stages(STAGES[:3], loaded.recipe, around, prints, set())
    walk.small = run
    walk.shared["tuned"] = around.shared["trained"]
    figures = reports["train"]["figures"]
    walk.adapter_bytes = figures["adapter_bytes"]
    return f"{figures['steps']} steps on a few rows, loss {figures['loss']:.4f}"


def reload(walk: Walk) -> str:
    """What was saved, read back, gives the logits that the trained model had in memory."""
    from ftune.data.store import TokenStore
    from ftune.model import adapters
    from ftune.model.comparing import compare, logits
    from ftune.stages.merge import first_line

    assert walk.small is not None
    store = TokenStore(walk.small.stage("format") / "train.arrow")
    rows = [first_line(store, i) for i in range(min(ROWS, len(store)))]
    tuned: Tuned = walk.shared.pop("tuned")
    before = [logits(tuned.model.eval(), row) for row in rows]
    del tuned
    _free()
    view = View(small(walk, "straight").recipe, "", MODEL_KEYS, set())
    task = tasks.told_in(walk.small.stage("format"))
    base = load_base(view, walk.place.allow_remote_code, task)
    again = Tuned(base, adapters.load(base, walk.small.stage("train") / "adapter"))
    found = compare(before, [logits(again.model, row) for row in rows])
    walk.shared["again"] = again
    if not found.largest <= SAME * max(1.0, found.scale):
        raise RunError(
            f"the saved model's logits differ by {found.largest:.3g} from those in memory; the "
            "method or the model does not save all that it trains"
        )
    return f"logits on {found.positions} tokens differ by at most {found.largest:.1e}"


def _free() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def evaluate(walk: Walk) -> str:
    """The stage evaluate of the miniature, on the model that was read back."""
    loaded, run = small(walk, "straight"), walk.small
    assert run is not None
    if not loaded.recipe.evaluate.metrics:
        raise LeftOut("evaluate.metrics names none")
    shared = {"trained": walk.shared.pop("again", None)} if "again" in walk.shared else {}
    around = Surroundings(run, walk.place, Silent(), walk.stop, shared)
    prints = fingerprints(STAGES, loaded.recipe, walk.place, set())
    reports = run_stages(STAGES, loaded.recipe, around, prints, set())
    _free()
    report = reports["evaluate"]
    walk.evaluate_seconds = report["seconds"] / max(1, report["figures"]["prompts"])
    return "; ".join(report["summary"])


def generate(walk: Walk) -> str:
    """One answer, through the template that was trained with."""
    from ftune.stages.answer import KEYS, Ask, answerer

    walk.shared.pop("again", None)
    _free()
    found = _found(walk)
    if tasks.is_labelled(View(found.loaded.recipe, "", KEYS, set())):
        raise LeftOut("the evaluation before has made all that such a model says")
    contract = atomic.read_json(found.trained().stage("train") / "adapter" / prompting.NAME)
    asked = prompting.prompts(contract)
    if not asked:
        raise LeftOut("no row holds a question")
    view = View(found.loaded.recipe, "", KEYS, set())
    wish = Ask(None, None, None, False, allow_remote_code=walk.place.allow_remote_code)
    answer = answerer(found, view, wish, Silent()).answer(asked[0])
    return f"{answer.tokens} tokens: {json.dumps(answer.text[:40], ensure_ascii=False)}"


def merge(walk: Walk) -> str:
    """The merged model with its proof, or why this method has none."""
    from ftune.model.merging import why_not
    from ftune.stages.merge import merge_run

    found = _found(walk)
    why = why_not(found.trained().stage("train") / "adapter")
    if why:
        raise LeftOut(why)
    _free()
    allowed = walk.place.allow_remote_code
    report = merge_run(found, walk.folder / "merged", "auto", allowed, Silent())
    return "; ".join(report.summary[1:])


def _found(walk: Walk) -> Found:
    return Found(small(walk, "straight"), walk.small)


def resume(walk: Walk) -> str:
    """The killed training goes on, and ends with the weights of the one that was not killed."""
    child: Any = walk.shared.pop("child")
    if child.returncode != -signal.SIGKILL:
        raise RunError(_last_words(child.stderr))
    loaded = small(walk, "killed")
    wish = Wish(allow_remote_code=walk.place.allow_remote_code)
    [killed] = directory.existing(Path(loaded.recipe.runs_dir), loaded.recipe.name)
    if (killed.stage("train") / "done.json").is_file():
        raise RunError("the training ended before it could be killed")
    run = train_recipe(loaded, wish, Silent())
    assert walk.small is not None
    largest, scale = _apart(walk.small, run)
    if not largest <= SAME * scale:
        raise RunError(
            f"killed in step {DIES_AT} of {STEPS} and resumed, its weights differ by "
            f"{largest:.3g} from those of a training that was not interrupted"
        )
    same = "bit for bit the same" if largest == 0 else f"the same within {largest:.1e}"
    return f"killed in step {DIES_AT} of {STEPS} and resumed: weights are {same}"


def _apart(one: RunDirectory, other: RunDirectory) -> tuple[float, float]:
    """The largest difference of two trainings' weights, and the largest weight."""
    from safetensors.torch import load_file

    largest = scale = 0.0
    for path in sorted((one.stage("train") / "adapter").glob("*.safetensors")):
        others = load_file(other.stage("train") / "adapter" / path.name)
        for name, tensor in load_file(path).items():
            largest = max(largest, float((tensor.double() - others[name].double()).abs().max()))
            scale = max(scale, float(tensor.double().abs().max()))
    return largest, scale
