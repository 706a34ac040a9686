"""Runs killed at random moments end like undisturbed ones; a few trials, ``kills.py`` does many."""

from __future__ import annotations

import random

import pytest
from trials import Field

pytestmark = pytest.mark.golden

KILLS, FULL = 10, 4


@pytest.fixture(scope="module")
def ground(home, parent, tmp_path_factory) -> Field:
    return Field(home, parent, tmp_path_factory.mktemp("trials"))


@pytest.mark.parametrize("number", range(KILLS))
def test_killed(number, ground):
    seed = random.randrange(10**9)
    trial = ground.trial(number, "kill", random.Random(seed))
    print(f"seed {seed}: killed {trial.places}")
    assert not trial.wrong


@pytest.mark.parametrize("number", range(FULL))
def test_no_room_or_a_broken_disk_at_a_random_write(number, ground):
    seed = random.randrange(10**9)
    do = ("full", "broken")[number % 2]
    trial = ground.trial(KILLS + number, do, random.Random(seed))
    print(f"seed {seed}: {do} {trial.places}")
    assert not trial.wrong
