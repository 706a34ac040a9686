"""Inputs that the fuzzer found, and good ones cut anywhere: an error of its kind, or none."""

from __future__ import annotations

import pytest
from fuzz_led import seeds
from targets import TARGETS

CUTS = 6  # of each input


@pytest.mark.parametrize("kind", TARGETS)
def test_nothing_but_an_error_comes_of_it(kind, tmp_path):
    seeds(kind, tmp_path / "seeds")
    found = sorted((tmp_path / "seeds").iterdir())
    assert found
    for path in found if len(found) < 8 else found[::4]:
        data = path.read_bytes()
        for at in range(CUTS + 1):
            TARGETS[kind](data[: len(data) * at // CUTS], tmp_path)


def test_a_target_that_sees_nothing_would_be_seen(tmp_path, monkeypatch):
    monkeypatch.setattr("targets.load_recipe", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        TARGETS["recipe"](b"", tmp_path)
