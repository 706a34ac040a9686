"""Adapter and base as one model that plain transformers loads, with the proof that it is equal."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ftune.errors import FtuneError, ModelError
from ftune.model import adapters, deltas, heads, manifest, soundness, weights
from ftune.model.attaching import is_peft
from ftune.model.comparing import Difference, compare, logits, shortened
from ftune.model.loading import Loaded, load_model, load_tokenizer
from ftune.model.quiet import quiet
from ftune.model.resolve import locate
from ftune.recipe.schema import Model
from ftune.registry import KINDS
from ftune.run.progress import Progress, Silent
from ftune.types import Task

# Largest allowed difference of two logits, as a share of the largest logit. Narrow types round
# each merged weight to 8 or 11 bits, which shows in the logits.
BOUNDS = {"float32": 3e-6, "float16": 1e-2, "bfloat16": 5e-2}
LEAST = 1e-5  # so much is always allowed
# Up to so many parameters the proof is computed in float64: float32's own rounding, about 1e-6 of
# the largest logit, would hide what the merge did. Beyond, that would take too much memory.
EXACT = 1_000_000_000


@dataclass(frozen=True)
class Proof:
    """How the merged model, read back from disk, differs from base and adapter.

    ``largest`` is the largest difference of two logits and ``scale`` the largest logit;
    ``bound`` is what was allowed. ``equal_greedy`` is the share of ``positions`` with the same
    likeliest token. ``arithmetic`` is the type that both were computed in. ``quantized`` is how far
    the quantized base that was trained on is from the full one, without any adapter, on the same
    rows; None where it was not quantized, or can't be loaded here (``quantized_note`` says why).
    """

    largest: float
    mean: float
    scale: float
    bound: float
    equal_greedy: float
    positions: int
    dtype: str
    arithmetic: str
    quantized: Difference | None = None
    quantized_note: str = ""

    @property
    def holds(self) -> bool:
        """Whether the difference is within the bound; NaN is not."""
        return self.largest <= self.bound


def merge(
    model: Model,
    adapter: Path,
    output: Path,
    *,
    rows: Sequence[Sequence[int]] = (),
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    task: Task | None = None,
    join: Callable[[Any, Loaded], Any] | None = None,
    beside: Sequence[str] = (),
    finish: Callable[[Path, Proof], None] | None = None,
    allow_code: bool = False,
    progress: Progress | None = None,
) -> Proof:
    """Merges on the unquantized base in float64 (large models: float32), on the CPU; saves, reads
    back and compares.

    Args:
        model: the run's model section; its quantization is left out.
        adapter: folder written by ``adapters.save`` or by PEFT.
        output: folder that is made; it must not hold anything.
        rows: token ids to compare on; by default a few rows of drawn ids.
        dtype: of the weights on disk; auto takes the base's own.
        task: what the model is for; by default a causal language model.
        join: makes of the base with the adapter, and of the base, the model that is merged, such
            as one with several adapters; by default it stays as it is.
        beside: names of files that go with the adapter, and are copied to the merged model.
        finish: writes more into the folder before it appears under its name.
        allow_code: whether the command line allowed code that comes with the model.
        progress: is told what is done.

    Raises:
        ModelError: there is nothing to merge, a weight is not finite, or the merged model differs
            by more than the bound; then nothing is kept.
        RunError: it can't be written.
    """
    import torch

    say = (progress or Silent()).say
    _check_output(output)
    _check_mergeable(adapter)
    section = plain_section(model)
    tokenizer = load_tokenizer(section, allow_code)
    base = load_model(section, tokenizer, allow_code=allow_code, task=task)
    tuned = adapters.load(base, adapter, progress=progress)
    _take_template(tokenizer, adapter)  # which is known to be whole now
    arithmetic = torch.float64 if base.facts["parameters"] <= EXACT else torch.float32
    tuned = tuned.to(arithmetic)
    if join is not None:
        tuned = join(tuned, base)
    vocabulary = base.facts["vocabulary"]
    checked = shortened(rows, vocabulary) or _drawn(vocabulary)
    say(f"merge: base and adapter read; comparing on {len(checked)} rows")
    expected = [logits(tuned, row) for row in checked]
    gap, note = _quantized(model, tuned, base, checked, allow_code)
    merged = _merged(tuned, adapter)
    del tuned, base  # room for the second model
    kept = dtype if dtype != "auto" else _own_dtype(model, allow_code)
    with manifest.replaced(output) as part:
        with quiet():
            merged.to(getattr(torch, kept)).save_pretrained(str(part))
            tokenizer.save_pretrained(str(part))
            del merged
        for name in beside:
            if (adapter / name).is_file():
                shutil.copyfile(adapter / name, part / name)
        code = allow_code and model.trust_remote_code
        proof = _proof(part, checked, expected, kept, arithmetic, code, task or Task())
        proof = replace(proof, quantized=gap, quantized_note=note)
        if not proof.holds:
            raise ModelError(
                f"{adapter}: the merged model's logits differ by {proof.largest:.3g} from base and "
                f"adapter, more than the {proof.bound:.3g} that {kept} allows; nothing was kept: "
                "merge with --dtype float32, or use the adapter unmerged"
            )
        say(f"merge: largest difference of logits {proof.largest:.3g}, allowed {proof.bound:.3g}")
        if finish:
            finish(part, proof)
        if output.exists():
            output.rmdir()  # checked to be empty
    return proof


def _check_output(output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ModelError(f"{output}: holds something already; name a new folder with --output")


def _check_mergeable(adapter: Path) -> None:
    """Raises ModelError where there is no adapter, or nothing to merge."""
    if not adapter.is_dir():
        raise ModelError(f"{adapter}: there is no such folder; has the run been trained?")
    why = why_not(adapter)
    if why:
        raise ModelError(f"{adapter}: {why}")


def why_not(adapter: Path) -> str:
    """Why what was trained can't be merged into a base; empty if it can."""
    if (adapter / deltas.CONFIG).exists():
        if "bottleneck" in weights.read_json(adapter, deltas.CONFIG):
            return (
                "bottleneck adapters can't be merged: they bend what flows through them (a "
                "nonlinear layer), which no weight of the model can do; use them as they are "
                "(ftune generate, ftune eval)"
            )
        return ""
    if not (adapter / adapters.CONFIG).exists():
        if (adapter / "config.json").exists():
            return (
                "there is nothing to merge: this is a whole model already, which plain "
                "transformers loads from this folder"
            )
        return f"has no {adapters.CONFIG}; is it an adapter's folder?"
    told = weights.read_json(adapter, adapters.CONFIG)
    kind = told.get("peft_type")
    if told.get("init_lora_weights") == "loftq":
        return (
            "what it learned makes up for a base in 4 bits (init_lora_weights: loftq), and would "
            "be wrong on the full one, into which a merge goes; use it as an adapter"
        )
    if kind in ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "MULTITASK_PROMPT_TUNING"):
        where = "in each layer's cache" if kind == "PREFIX_TUNING" else "before the input"
        return (
            f"a soft prompt can't be merged: its vectors stand {where} and are "
            "no weights of the model; use it as an adapter (ftune generate, ftune eval, PEFT)"
        )
    return ""


def plain_section(model: Model) -> Model:
    """The model section without quantization, in float32 and with exact attention."""
    return Model(
        name_or_path=model.name_or_path,
        revision=model.revision,
        dtype="float32",
        device="cpu",
        trust_remote_code=model.trust_remote_code,
        add_tokens=model.add_tokens,
    )


def _own_dtype(model: Model, allow_code: bool) -> str:
    """What the base's weights are stored in, as config.json says; float32 where it doesn't."""
    code = allow_code and model.trust_remote_code
    config = weights.read_json(
        locate(model.name_or_path, model.revision, code).folder, "config.json"
    )
    told = config.get("dtype", config.get("torch_dtype"))
    return told if told in BOUNDS else "float32"


def _take_template(tokenizer: Any, adapter: Path) -> None:
    """The chat template that was saved with the adapter."""
    path = adapter / "chat_template.jinja"
    if path.exists():
        try:
            tokenizer.chat_template = weights.inside(adapter, path).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ModelError(f"{path}: is no text ({error}); copy the folder again") from error


def _drawn(size: int) -> list[list[int]]:
    """Four rows of 32 token ids below ``size``, always the same."""
    import torch

    drawn = torch.randint(0, size, (4, 32), generator=torch.Generator().manual_seed(0))
    return drawn.tolist()


def _quantized(
    model: Model, tuned: Any, base: Loaded, rows: Sequence[Sequence[int]], allow_code: bool
) -> tuple[Difference | None, str]:
    """How far the run's quantized base is from the full one below ``tuned``, or why not known."""
    if not model.quantization:
        return None, ""
    read = partial(load_model, tokenizer=base.tokenizer, allow_code=allow_code, task=base.task)
    try:
        narrow = read(model).model
    except FtuneError as error:
        return None, f"the quantized base can't be loaded here: {error}"
    found = (logits(narrow, row) for row in rows)
    if not is_peft(tuned):  # the trained weights stand in the base's place
        full = read(plain_section(model)).model
        return compare((logits(full, row) for row in rows), found), ""
    with tuned.disable_adapter():
        return compare((logits(tuned, row) for row in rows), found), ""


def _merged(tuned: Any, adapter: Path) -> Any:
    if not is_peft(tuned):
        return tuned
    try:
        with quiet():
            merged = tuned.merge_and_unload(safe_merge=True)
    except (ValueError, NotImplementedError, AttributeError) as error:
        raise ModelError(f"{adapter}: can't be merged: {error}") from error
    soundness.check_tensors("the merged model", merged.named_parameters())
    return merged


def _proof(
    folder: Path,
    rows: Sequence[Sequence[int]],
    expected: Sequence[Any],
    kept: str,
    arithmetic: Any,
    code: bool,
    task: Task,
) -> Proof:
    """Reads the merged model with plain transformers and compares its logits."""
    import torch
    import transformers
    from transformers import AutoTokenizer

    with quiet():
        model = getattr(transformers, KINDS.load(task.kind).AUTO).from_pretrained(
            str(folder), dtype=torch.float32, trust_remote_code=code, local_files_only=True
        )
        AutoTokenizer.from_pretrained(str(folder), trust_remote_code=code, local_files_only=True)
    heads.mark(model, task)
    model = model.to(arithmetic).eval()
    found = compare(expected, (logits(model, row) for row in rows))
    share = BOUNDS[kept] if arithmetic == torch.float64 else max(BOUNDS[kept], 1e-5)
    bound = max(share * found.scale, LEAST)
    told = str(arithmetic).removeprefix("torch.")
    return Proof(**asdict(found), bound=bound, dtype=kept, arithmetic=told)
