"""make check asks for advisories on what is pinned, and passes where there are none to be had."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tools"))

import audit

WHOLE = {"name": "one", "version": "1.0", "vulns": []}
HOLE = {
    "name": "two",
    "version": "2.0",
    "vulns": [{"id": "GHSA-x", "fix_versions": ["2.1"], "aliases": [], "description": ""}],
}
UNKNOWN = {"name": "three", "skip_reason": "not found"}


def told(*packages):
    return audit.told(json.dumps({"dependencies": packages, "fixes": []}), "")


def test_an_advisory_fails():
    text, code = told(WHOLE, HOLE, UNKNOWN)
    assert code == 1
    assert text == "two 2.0: GHSA-x, mended in 2.1\n1 advisories on 2 of 3 pinned packages"


def test_none_passes():
    assert told(WHOLE) == ("0 advisories on 1 of 1 pinned packages", 0)


def test_where_none_can_be_had_it_says_so():
    assert told(UNKNOWN) == ("dependencies not audited: the index has no advisories", 0)
    assert audit.told("", "no network") == ("dependencies not audited: no network", 0)
    assert audit.told("nonsense", "")[1] == 0
