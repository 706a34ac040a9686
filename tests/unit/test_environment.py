"""What is set before torch is loaded, and what a user has said stays."""

from __future__ import annotations

import os

import pytest

from ftune import environment


@pytest.fixture
def empty(monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    return os.environ


def test_libraries_are_told_before_torch_is_loaded(empty):
    environment.before_torch()
    wanted = {**environment.LIBRARIES, **environment.SPINS}
    assert {name: empty.get(name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
        ({"LRU_CACHE_CAPACITY": "9"}, {"LRU_CACHE_CAPACITY": "9"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE", "GOMP_SPINCOUNT": None}),
    ],
)
def test_what_the_user_has_set_stays(empty, given, kept):
    empty.update(given)
    environment.before_torch()
    assert {name: empty.get(name) for name in kept} == kept
