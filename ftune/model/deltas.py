"""Parameters of the model itself that were trained while others stayed: saved alone, put back.

``delta.safetensors`` holds them under their names in the model, ``delta_config.json`` what has to
be known to put them back. Where single numbers or rows were chosen, it holds these alone (sparse).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ftune.errors import ModelError
from ftune.model import bottleneck, chosen, selecting, soundness, sparse, weights
from ftune.model.attaching import is_peft, is_tied
from ftune.model.loading import Loaded
from ftune.run import atomic

CONFIG, WEIGHTS = "delta_config.json", "delta.safetensors"


def is_delta(model: Any) -> bool:
    """Whether only some numbers of the model itself are trained."""
    if is_peft(model):
        return False
    return chosen.of(model) is not None or not all(p.requires_grad for p in model.parameters())


def save(model: Any, folder: Path, method: str, base: str) -> None:
    """Writes the trained numbers to ``folder``, in their own dtype."""
    from safetensors.torch import save_file

    some = chosen.of(model)
    trained = {
        name: p.detach().cpu().contiguous()
        for name, p in model.named_parameters()
        if p.requires_grad
    }
    if some is not None:
        trained = sparse.packed(some, trained)
    save_file(trained, folder / WEIGHTS)
    head_alone = model.get_output_embeddings() is not None and not is_tied(model)
    told = {"method": method, "base_model_name_or_path": base, "head_has_own_weights": head_alone}
    if some is not None:
        told |= {"by": some.by}
    if (inserted := bottleneck.told(model)) is not None:
        told |= {"bottleneck": dict(inserted)}
    atomic.write_json(folder / CONFIG, told)


def load(base: Loaded, folder: Path, trainable: bool) -> Any:
    """The base with the saved parameters in place of its own.

    Raises:
        ModelError: damaged, not those of this model, not finite, or equal to the base's own.
    """
    import torch
    from safetensors.torch import load_file

    path, model = folder / WEIGHTS, base.model
    told = weights.read_json(folder, CONFIG)
    weights.header(weights.inside(folder, path))
    found = load_file(path)
    some = None
    if "by" in told:
        some, found = sparse.unpacked(path, told["by"], found, dict(model.named_parameters()))
    if told.get("head_has_own_weights") is True:
        selecting.untie_head(model)
    if "bottleneck" in told:
        _insert(model, folder, told["bottleneck"])
    own = dict(model.named_parameters())
    problems = {
        "not in the model": {n for n in found if n not in own},
        "of another shape": {n for n in found if n in own and own[n].shape != found[n].shape},
    }
    said = [f"{soundness.names(names)} ({what})" for what, names in problems.items() if names]
    if said or not found:
        raise ModelError(f"{path}: does not fit this base: {'; '.join(said) or 'it is empty'}")
    soundness.check_tensors(str(path), found.items(), base.dtype)
    if all(torch.equal(own[n].cpu(), t.to(own[n].dtype)) for n, t in found.items()):
        raise ModelError(
            f"{path}: holds the base's own weights, as if nothing had been trained; train it "
            "(learning rate 0?) or copy it again"
        )
    model.requires_grad_(False)
    with torch.no_grad():
        for name, tensor in found.items():
            own[name].copy_(tensor)
            own[name].requires_grad_(trainable)
    if some is not None:
        chosen.mark(model, some, trainable)
    return model.train(trainable)


def _insert(model: Any, folder: Path, given: Any) -> None:
    """The adapters that the file tells of, not filled yet.

    Raises:
        ModelError: it tells of none that there are.
    """
    wanted = {"size", "activation", "variant"}
    known = isinstance(given, dict) and set(given) == wanted
    if not known or given["activation"] not in bottleneck.ACTIVATIONS:
        raise ModelError(f"{folder / CONFIG}: its 'bottleneck' is damaged; copy the adapter again")
    bottleneck.insert(model, **given)
