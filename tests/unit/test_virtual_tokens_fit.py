"""Virtual tokens and rows have to fit into what a model can read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ftune.errors import ModelError
from ftune.model import attaching, soft


def model(virtual: int | None, positions: int | None) -> Any:
    text = SimpleNamespace(max_position_embeddings=positions)
    own = SimpleNamespace(is_prompt_learning=virtual is not None, num_virtual_tokens=virtual)
    return SimpleNamespace(
        config=SimpleNamespace(get_text_config=lambda: text), active_peft_config=own
    )


def test_more_than_there_are_positions_is_refused() -> None:
    with pytest.raises(ModelError, match=r"20 of them and rows of up to 512 .* at most 492"):
        soft.refuse_beyond(model(20, 512), 512)
    with pytest.raises(ModelError, match="at most 0"):
        soft.refuse_beyond(model(600, 512), 8)


@pytest.mark.parametrize(("virtual", "positions"), [(20, 532), (None, 512), (20, None)])
def test_what_fits_is_not(virtual: int | None, positions: int | None) -> None:
    soft.refuse_beyond(model(virtual, positions), 512)


def test_a_pattern_is_told_as_the_recipe_has_it() -> None:
    named = SimpleNamespace(named_modules=lambda: [("a.b", None)])
    with pytest.raises(ModelError, match=r"tune\.rank_pattern: nope matches no module"):
        attaching.check_targets(named, r"(.*\.)?(nope)", "tune.rank_pattern", shown="nope")
