"""What ``ftune inspect`` says, held beside plain sums over the models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_adapters import base, made, make_base

from ftune.errors import ModelError
from ftune.model import adapters, changes, merging, nearest
from ftune.recipe.schema import Model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


def test_a_token_is_nearest_to_itself_and_its_neighbours_follow(folder: Path) -> None:
    loaded = base(folder)
    table = loaded.model.get_input_embeddings().weight.detach()
    vectors = torch.stack([table[70], table[71] + 0.01, 3 * table[72]])
    found = nearest.read_prompt(vectors, table, loaded.tokenizer, 4)
    assert [p.cosine[0].id for p in found.places] == [70, 71, 72]
    assert [p.euclidean[0].id for p in found.places[:2]] == [70, 71]
    assert found.places[0].ratio == 0 and found.places[2].ratio > 0.5
    table = table[: len(loaded.tokenizer)].double()
    for place, vector in zip(found.places, vectors.double(), strict=True):
        apart = (table - vector).norm(dim=1).sort()
        assert [n.id for n in place.euclidean] == apart.indices[:4].tolist()
        got = [n.measure for n in place.euclidean]
        assert got == pytest.approx(apart.values[:4].tolist(), abs=1e-5)
        alike = torch.nn.functional.cosine_similarity(table, vector[None]).sort(descending=True)
        assert [n.id for n in place.cosine] == alike.indices[:4].tolist()
    ids = range(0, len(table), -(-len(table) // nearest.SAMPLE))
    own = [(table - table[i]).norm(dim=1).sort().values[1] for i in ids]
    assert found.neighbour_distance == pytest.approx(float(torch.stack(own).median()), rel=1e-4)


@pytest.mark.parametrize(
    ("method", "keys"),
    [
        ("lora", {"r": 2}),
        ("lora", {"r": 2, "use_dora": True, "bias": "all"}),
        ("lora", {"r": 2, "init_lora_weights": "pissa", "modules_to_save": ("norm",)}),
        ("ia3", {}),
        ("freeze", {"last_layers": 1}),
        ("head", {}),
        ("full", {}),
    ],
    ids=str,
)
def test_changes_are_those_of_the_merged_model(
    folder: Path, tmp_path: Path, method: str, keys: dict[str, object]
) -> None:
    made(base(folder), tmp_path / "out", method, 0.05, keys)
    first = base(folder).model
    again = base(folder).model if changes.changes_base(tmp_path / "out") else None
    found = {c.name: c for c in changes.changes(base(folder), tmp_path / "out", again)}
    tuned = adapters.load(base(folder), tmp_path / "out")
    merged = tuned.merge_and_unload() if hasattr(tuned, "merge_and_unload") else tuned
    own = dict(first.named_parameters())
    own.setdefault("lm_head.weight", first.get_output_embeddings().weight)
    expected = {
        name: float((p - own[name]).norm() / own[name].norm())
        for name, p in merged.named_parameters()
        if not torch.equal(p, own[name])
    }
    assert {n for n, c in found.items() if c.change} == set(expected) and expected
    for name, share in expected.items():
        # A bias that was 0 has no size that its change could be a share of.
        wanted = None if share == float("inf") else pytest.approx(share, rel=1e-3)
        assert found[name].relative == wanted, name
    whole = changes.by_layer(list(found.values()))
    assert sum(c.change**2 for c in whole) == pytest.approx(
        sum(c.change**2 for c in found.values())
    )


def test_keys_and_values_are_not_read_as_tokens(folder: Path, tmp_path: Path) -> None:
    made(base(folder), tmp_path / "out", "prefix_tuning", 0.1, {})
    with pytest.raises(ModelError, match="keys and values"):
        changes.prompt_vectors(tmp_path / "out")
    made(base(folder), tmp_path / "p", "p_tuning", 0.1, {"num_virtual_tokens": 3})
    assert changes.prompt_vectors(tmp_path / "p").shape == (3, 16)
    section = Model(name_or_path=str(folder), device="cpu")
    assert merging.plain_section(section).dtype == "float32"


def test_what_stands_beside_the_weights_is_counted(folder: Path, tmp_path: Path) -> None:
    """Bottleneck adapters change no weight of the base; another method's part has none of them."""
    made(base(folder), tmp_path / "nets", "bottleneck", 0.05, {"size": 4})
    # Behind attention and feed-forward of two layers: 16 to 4 and back, with biases.
    assert changes.beside(tmp_path / "nets") == 4 * (2 * 16 * 4 + 4 + 16)
    made(base(folder), tmp_path / "head", "head", 0.05, {})
    assert changes.beside(tmp_path / "head") == 0


def test_a_change_of_nothing_has_no_share() -> None:
    assert changes.Change("bias", None, (2,), 2, 0.5, 0.0).relative is None
