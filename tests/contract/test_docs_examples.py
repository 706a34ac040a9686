"""The extensions that docs/extending.md shows work as it says."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftune.errors import DataError
from ftune.recipe.base import Section
from ftune.registry import METHODS, METRICS, OBJECTIVES, template_names
from ftune.types import Batch, Prediction

ROOT = Path(__file__).parents[2]
EXTENDING = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
EXAMPLES = {
    found[1]: found[2]
    for found in re.finditer(r"^`(ftune/\S+)`:\n\n```\w+\n(.*?)^```$", EXTENDING, re.M | re.S)
}


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Imports what a file of extending.md would be."""

    def load(path: str) -> Any:
        file = tmp_path / Path(path).name
        file.write_text(EXAMPLES[path], encoding="utf-8")
        spec = importlib.util.spec_from_file_location(f"example_{file.stem}", file)
        assert spec and spec.loader
        module: Any = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)  # docstrings of keys are read from it
        spec.loader.exec_module(module)
        sound(module)
        return module

    return load


def sound(module: Any) -> None:
    """What the contract tests ask of every extension."""
    assert issubclass(module.Config, Section)
    assert module.Config(**module.Config().model_dump()) == module.Config()
    assert all(field.description for field in module.Config.model_fields.values())
    assert (module.__doc__ or "").splitlines()[0].endswith(".")


def test_there_is_an_example_of_each_kind() -> None:
    folders = {str(Path(path).parent) for path in EXAMPLES}
    assert folders == {
        "ftune/evaluate/metrics",
        "ftune/data/formats",
        "ftune/data/templates",
        "ftune/model/tuning",
        "ftune/train/objectives",
    }
    taken = {*METRICS.names(), *METHODS.names(), *OBJECTIVES.names(), *template_names()}
    assert not taken & {Path(path).stem for path in EXAMPLES}, "it is no example any more"


def test_example_metric(example: Callable[[str], Any]) -> None:
    module = example("ftune/evaluate/metrics/word_f1.py")
    rows = [
        Prediction(1, "?", "the red hat", ("The hat", "no"), "a"),
        Prediction(2, "?", "b", ("c",)),
    ]
    (figure,) = module.score(rows, module.Config())
    assert figure.value == pytest.approx(100 * (4 / 5 + 0) / 2)
    with pytest.raises(DataError, match="word_f1"):
        module.score([], module.Config())


def test_example_format(example: Callable[[str], Any]) -> None:
    module = example("ftune/data/formats/reading.py")
    row = {"context": "Bo has a red hat.", "question": "Which?", "answers": ["Red.", "red"]}
    found = module.example(row, module.Config(passage="context"))
    assert [m.role for m in found.messages] == ["user", "assistant"]
    assert found.messages[0].context == "Bo has a red hat."
    assert (found.messages[1].content, found.references) == ("Red.", ("red",))
    with pytest.raises(DataError, match="answers"):
        module.example({**row, "answers": []}, module.Config(passage="context"))


def test_example_method_and_objective(example: Callable[[str], Any]) -> None:
    import torch

    from ftune.model.loading import load_model, load_tokenizer
    from ftune.recipe.schema import Model
    from ftune.train.objectives import sft

    method = example("ftune/model/tuning/hira.py")
    objective = example("ftune/train/objectives/smoothed.py")
    section = Model(name_or_path="ftune:tiny", device="cpu")
    tokenizer = load_tokenizer(section)
    model = method.attach(load_model(section, tokenizer).model, method.Config(), tokenizer)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained and all("hira" in name for name in trained)
    ids = torch.arange(5, 13).reshape(1, 8)
    batch = Batch(ids, ids, torch.arange(8)[None], torch.ones_like(ids), (0,), 7, 1)
    plain = sft.loss(model, batch, sft.Config())
    same = objective.loss(model, batch, objective.Config(share=0.0))
    torch.testing.assert_close(same.total, plain.total)
    smoothed = objective.loss(model, batch, objective.Config())
    assert smoothed.count == 7 and not torch.equal(smoothed.total, plain.total)
    smoothed.total.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
