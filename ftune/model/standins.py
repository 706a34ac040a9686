"""A model without its numbers, which are read only when it is split over processes.

Its parameters have shape, type and device, but next to no memory, until ``StandIns.fill`` is called
for a module: a layer at a time, just before its split. What is attached to the model meanwhile must
not depend on numbers that are not there; while a method attaches, they are NaN, so that whatever it
takes from them shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftune.errors import ModelError
from ftune.model import pieces
from ftune.types import Task


class ObstacleError(ModelError):
    """Why a model can't be read in shares; it is read whole then, and the reason told."""


@dataclass
class StandIns:
    """``waiting`` are parameters by id, each with the names that its tensor may have in files."""

    files: pieces.Pieces
    device: Any
    waiting: dict[int, tuple[Any, tuple[str, ...]]] = field(default_factory=dict)

    def check(self, tuned: Any) -> None:
        """Raises ObstacleError if what was attached depends on numbers of the base."""
        import torch

        for name, tensor in [*tuned.named_parameters(), *tuned.named_buffers()]:
            own = self.waiting.get(id(tensor))
            if own is None:
                if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                    raise ObstacleError(f"{name} is made of the base's own weights")
            elif tensor.untyped_storage().nbytes() > tensor.element_size():
                raise ObstacleError(f"the tuning method changes {name}")
        there = {id(p) for p in tuned.parameters()}
        if lost := [names[0] for key, (_, names) in self.waiting.items() if key not in there]:
            raise ObstacleError(f"the tuning method replaces {lost[0]}")

    def draw(self) -> None:
        """Gives the parameters drawn numbers, so that the model can be tried; still no memory.

        Neighbouring lines share their numbers (a Hankel matrix), whose size keeps activations so;
        of experts, which products take together, each matrix is contiguous, as they have to be.
        """
        import torch

        generator = torch.Generator().manual_seed(0)
        drawn: dict[tuple[int, Any], Any] = {}
        for parameter, _ in self.waiting.values():
            shape = parameter.shape
            apart = (shape[-1],) * (len(shape) - 1) + (1,) if len(shape) > 2 else (1,) * len(shape)
            key = (shape[-1], parameter.dtype)
            length = 1 + sum((n - 1) * step for n, step in zip(shape, apart, strict=True))
            if key not in drawn or len(drawn[key]) < length:
                numbers = torch.randn(length, generator=generator)
                numbers = 1 + 0.02 * numbers if len(shape) == 1 else numbers / shape[-1] ** 0.5
                drawn[key] = numbers.to(self.device, parameter.dtype)
            parameter.data = drawn[key].as_strided(shape, apart)

    def fill(self, module: Any) -> None:
        """Reads the parameters of ``module`` that still wait; then they are plain tensors.

        Raises:
            ModelError: a file can't be read, or a tensor has another shape than before.
        """
        own = [self.waiting.pop(id(p)) for p in module.parameters() if id(p) in self.waiting]
        chosen = {next(filter(self.files.has, names)): p for p, names in own}
        for name, tensor in self.files.read(chosen).items():
            parameter = chosen[name]
            if tensor.shape != parameter.shape:
                raise ModelError(
                    f"{name}: is {list(tensor.shape)} in the model's files now, and was "
                    f"{list(parameter.shape)}; download the model again"
                )
            parameter.data = tensor.to(self.device).contiguous()


def refuse(section: Any, tokenizer: Any, task: Task | None) -> None:
    """Raises ObstacleError where a base can't be read in shares, whatever its files hold."""
    from ftune.model import heads, vocabulary

    if section.quantization:
        raise ObstacleError("the base is quantized as it is read")
    if section.trust_remote_code:
        raise ObstacleError("code that comes with the model reads it")
    if task is not None and not heads.writes(task):
        raise ObstacleError("the head of this objective is drawn anew")
    if vocabulary.added_ids(tokenizer):
        raise ObstacleError("model.add_tokens begins with the mean of the embeddings")


def take_place(model: Any, paths: list[Path], device: Any) -> StandIns:
    """Puts stand-ins into ``model``, which is on the meta device; buffers get their numbers.

    Raises:
        ObstacleError: transformers keeps a tensor of it in a way that is not known here.
    """
    import torch

    try:
        files = pieces.plan(model, paths)
    except Exception as error:
        line = str(error).strip().partition("\n")[0]
        raise ObstacleError(f"its tensors can't be read one by one ({line})") from error
    found = StandIns(files, device)
    _buffers(model, files, device)
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    for one, other in tied.items():
        if model.get_parameter(one) is not model.get_parameter(other):
            raise ObstacleError(f"its files hold {one} and {other}, which may be the same tensor")
    made: dict[int, Any] = {}
    for module, name, parameter in list(_places(model)):
        own = tuple(names[id(parameter)])
        if not parameter.is_floating_point() or not any(map(files.has, own)):
            raise ObstacleError(f"{own[0]} is not among the numbers of its files")
        if id(parameter) not in made:
            nothing = torch.full((1,) * max(1, parameter.dim()), torch.nan, dtype=parameter.dtype)
            stand_in = torch.nn.Parameter(nothing.to(device).expand(parameter.shape), False)
            made[id(parameter)] = stand_in
            found.waiting[id(stand_in)] = (stand_in, own)
        module._parameters[name] = made[id(parameter)]
    model.__dict__.pop("hf_device_map", None)
    return found


def _places(model: Any) -> Iterator[tuple[Any, str, Any]]:
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                yield module, name, parameter


def _buffers(model: Any, files: pieces.Pieces, device: Any) -> None:
    """Those in the files are read, the others made again, as transformers makes them."""
    import torch

    own = [(f"{at}.{n}" if at else n, m, n) for at, m in model.named_modules() for n in m._buffers]
    kept = {name for name, _, _ in own if files.has(name)}
    values = files.read(kept)
    for name, module, short in own:
        buffer = module._buffers[short]
        if name in kept:
            value = values[name].to(device, copy=True)
            value._is_hf_initialized = True
            module._buffers[short] = value
        elif buffer is not None and short not in module._non_persistent_buffers_set:
            raise ObstacleError(f"the buffer {name} is not in its files")
        elif buffer is not None:
            module._buffers[short] = torch.empty_like(buffer, device=device)
            module._is_hf_initialized = False
    model.initialize_weights()
