"""Configurations that must train alike, run through the command line and compared: ``make alike``.

Each class is a set of recipes that ask for the same training in another shape. Compared with the
class's first one are the loss and the gradient's norm of every step (largest and mean residual: a
bug of this kind shifts a curve to one side) and the weights at the end. One process is this one,
which calls the app of the command line; two processes are started with torchrun.

With plain SGD: AdamW divides by the gradient's size, so where that is next to nothing it makes a
whole step of a difference in the last digit.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
BOUND = 1e-5  # on loss, gradient norm and weights, in fp32
MEAN = 2e-6  # on the mean residual of loss and gradient norm
STEPS = 8
COMMON = (
    f"train.max_steps={STEPS}",
    "train.logging_steps=1",
    "train.optim=sgd",
    "train.learning_rate=0.05",
    "train.lr_scheduler_type=constant",
    "train.warmup_ratio=0",
    "evaluate.metrics=[]",
    "data.test=[]",
    "data.eval=[]",
    "train.eval_steps=null",
)


def rows(batch: int, accumulation: int = 1) -> tuple[str, ...]:
    """Overrides that split a step so."""
    return (
        f"train.per_device_train_batch_size={batch}",
        f"train.gradient_accumulation_steps={accumulation}",
    )


@dataclass(frozen=True)
class Way:
    """One configuration: overrides of the recipe, and how it is started."""

    label: str
    overrides: tuple[str, ...]
    processes: int = 1
    environment: dict[str, str] = field(default_factory=dict)


DRAWN = "train.group_by_length=false"  # rows of all lengths in one batch: much padding
PACKED = "data.packing=true"
CHECKPOINTING = "train.gradient_checkpointing=true"
COMPILED = "train.torch_compile=true"
PLAIN = {"FTUNE_PLAIN": "1"}
CLASSES: dict[str, tuple[Way, ...]] = {
    "order": (Way("8 x 1", rows(8)), Way("8 x 1 again", rows(8))),
    "batch": (
        Way("8 x 1", rows(8)),
        Way("4 x 2", rows(4, 2)),
        Way("1 x 8", rows(1, 8)),
    ),
    "padding": (
        Way("8 x 1, padded", (*rows(8), DRAWN)),
        Way("1 x 8, no padding", (*rows(1, 8), DRAWN)),
    ),
    "packing": (
        Way("8 x 1", rows(8)),
        Way("8 x 1, packed", (*rows(8), PACKED)),
        Way("4 x 2, packed", (*rows(4, 2), PACKED)),
    ),
    "checkpointing": (Way("off", rows(8)), Way("on", (*rows(8), CHECKPOINTING))),
    "compile": (
        Way("off", rows(8)),
        Way("on", (*rows(8), COMPILED)),
        Way("on, 4 x 2, packed", (*rows(4, 2), COMPILED, PACKED)),
        Way("on, checkpointing", (*rows(8), COMPILED, CHECKPOINTING)),
    ),
    "fast paths": (
        Way("on", rows(8)),
        Way("off", rows(8), environment=PLAIN),
        Way("off, packed", (*rows(8), PACKED), environment=PLAIN),
    ),
    "processes": (
        Way("1 process, 8 x 1", rows(8)),
        Way("2 processes, 4 x 1", rows(4), processes=2),
        Way("2 processes, 2 x 2, packed", (*rows(2, 2), PACKED), processes=2),
    ),
}
# The same of a small encoder that says labels, with its own recipe.
ENCODER = (Way("on", rows(8)), Way("off", rows(8), environment=PLAIN), Way("4 x 2", rows(4, 2)))
LABELLED = {
    "encoder": ("tune={method: lora, r: 4, target_modules: [query]}", "train.learning_rate=0.2"),
    "frozen body": ("tune={method: head}", "train.learning_rate=0.2"),  # 3 steps an epoch
}
METHODS = {
    "lora": ("tune={method: lora, r: 8}",),
    "full": ("tune={method: full}", "train.learning_rate=0.01"),
    "prompt_tuning": ("tune={method: prompt_tuning, num_virtual_tokens: 8}",),
}
SKIPPED = {"prompt_tuning": ("packing",)}  # its virtual tokens can't be shared by packed examples


@dataclass(frozen=True)
class Residual:
    """Of one run against another: the largest and the mean one, and the largest of the weights."""

    loss: float
    loss_mean: float
    norm: float
    norm_mean: float
    weights: float

    @property
    def holds(self) -> bool:
        """Whether all are within their bounds."""
        return max(self.loss, self.norm, self.weights) < BOUND and (
            max(abs(self.loss_mean), abs(self.norm_mean)) < MEAN
        )

    def __str__(self) -> str:
        return (
            f"{self.loss:9.1e} {self.loss_mean:10.1e} {self.norm:9.1e} {self.norm_mean:10.1e} "
            f"{self.weights:9.1e}"
        )


HEAD = "     loss       mean      norm       mean   weights"


def compare(one: Path, other: Path) -> Residual:
    """The residuals of two run directories; they must have seen the same rows in each step."""
    lines, others = _lines(one), _lines(other)
    for key in ("step", "rows", "tokens", "trained_tokens", "learning_rate"):
        seen = [[line[key] for line in each] for each in (lines, others)]
        assert seen[0] == seen[1], f"{other}: {key} was {seen[0]} and is {seen[1]}"
    assert len(lines) == STEPS
    assert min(line["grad_norm"] for line in lines) > 0.01, f"{one}: nothing was learned"
    found = {}
    for key in ("loss", "grad_norm"):
        # A norm of 20 has a last digit twenty times that of 1: as a share of it where above 1.
        sizes = [max(1.0, x[key]) if key == "grad_norm" else 1.0 for x in lines]
        pairs = zip(lines, others, sizes, strict=True)
        apart = [(y[key] - x[key]) / size for x, y, size in pairs]
        found[key] = (max(map(abs, apart)), sum(apart) / len(apart))
    return Residual(*found["loss"], *found["grad_norm"], _apart(_weights(one), _weights(other)))


def _lines(run: Path) -> list[dict]:
    text = (run / "train/metrics.jsonl").read_text(encoding="utf-8")
    return [line for line in map(json.loads, text.splitlines()) if "loss" in line]


def _weights(run: Path) -> dict:
    from safetensors.numpy import load_file

    [file] = (run / "train/adapter").glob("*.safetensors")
    return load_file(file)


def _apart(one: dict, other: dict) -> float:
    assert one.keys() == other.keys()
    return max(float(abs(one[name] - other[name]).max()) for name in one)


def train(recipe: Path, way: Way, overrides: tuple[str, ...], runs: Path) -> Path:
    """Runs ``ftune train``; the run's folder."""
    sets = (*COMMON, *overrides, *way.overrides, f"runs_dir={runs}", "name=alike")
    kept = {text.partition("=")[0]: text for text in sets}  # the later one of two
    arguments = ["train", str(recipe), "--fresh", *(a for o in kept.values() for a in ("-o", o))]
    before = set((runs / "alike").glob("*"))
    if way.processes > 1:
        launch(arguments, way)
    else:
        _call(arguments, way)
    [made] = set((runs / "alike").glob("*")) - before
    return made


def _call(arguments: list[str], way: Way) -> None:
    from ftune.cli.app import app

    os.environ.update(way.environment)
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            app(arguments, standalone_mode=False)
    except BaseException:
        print(said.getvalue(), file=sys.stderr)
        raise
    finally:
        for name in way.environment:
            del os.environ[name]


def launch(arguments: list[str], way: Way) -> None:
    """Runs ``ftune ARGUMENTS`` in several processes that train together."""
    # On a CPU `accelerate launch` wants MPI for this; torchrun does without.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]
    command = [*launch, str(way.processes), "-m", "ftune", *arguments]
    done = subprocess.run(
        command,
        env={**os.environ, **way.environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: ended with {done.returncode}\n{done.stderr}")


def table(recipe: Path, runs: Path, classes: list[str], methods: list[str]) -> bool:
    """Prints the table; whether every line of it holds."""
    good = True
    print(f"{'method':14} {'class':14} {'configuration':28} {HEAD}")
    for method in methods:
        for name in classes:
            if name in LABELLED:
                continue
            if name in SKIPPED.get(method, ()):
                continue
            first: Path | None = None
            for way in CLASSES[name]:
                if method == "prompt_tuning" and PACKED in way.overrides:
                    continue
                run = train(recipe, way, METHODS[method], runs)
                if first is None:
                    first = run
                    print(f"{method:14} {name:14} {way.label:28} (reference)", flush=True)
                    continue
                found = compare(first, run)
                good = good and found.holds
                word = "" if found.holds else "  OVER THE BOUND"
                print(f"{method:14} {name:14} {way.label:28} {found}{word}", flush=True)
    for name in LABELLED.keys() & set(classes):
        good = labelled(name, runs) and good
    print(f"bounds: {BOUND:g} on loss, gradient norm and weights, {MEAN:g} on the mean residuals")
    return good


def labelled(name: str, runs: Path) -> bool:
    """The lines of a small encoder; whether they hold."""
    sys.path.insert(0, str(Path(__file__).parent / "contract"))
    import small_tasks

    if not (runs / "model").is_dir():
        small_tasks.make_encoder(runs / "model")
    recipe = small_tasks.write(runs, "classification")
    recipe.write_text(recipe.read_text("utf-8").replace("  bootstrap: 0\n", ""), "utf-8")
    first, good = None, True
    for way in ENCODER:
        run = train(recipe, way, LABELLED[name], runs)
        if first is None:
            first = run
            print(f"{'labels':14} {name:14} {way.label:28} (reference)", flush=True)
            continue
        found = compare(first, run)
        good = good and found.holds
        word = "" if found.holds else "  OVER THE BOUND"
        print(f"{'labels':14} {name:14} {way.label:28} {found}{word}", flush=True)
    return good


def main() -> int:
    """0 if all configurations train alike, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes/ci-smoke.yaml")
    every = [*CLASSES, *LABELLED]
    parser.add_argument("--classes", nargs="+", default=every, choices=every)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    given = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with tempfile.TemporaryDirectory(prefix="alike-") as runs:
        return 0 if table(given.recipe, Path(runs), given.classes, given.methods) else 1


if __name__ == "__main__":
    sys.exit(main())
