"""Two hosts through ``ftune launch``: a slow link, a link that is cut, and what comes after.

``python tests/faults/hosts.py`` goes on with both hosts, and measures; here one process does.
"""

from __future__ import annotations

from pathlib import Path

import hosts
import pytest
from parent import Parent

REASON = hosts.why_not()


@pytest.mark.skipif(REASON is not None, reason=str(REASON))
def test_a_link_that_is_slow_and_cut(tmp_path: Path, parent: Parent) -> None:
    tried, straight = tmp_path / "tried", tmp_path / "straight"
    tried.mkdir()
    with hosts.made() as made:
        made.slow("100mbit")
        said, seconds = hosts.cut_off(made, tried)
        assert made.left() == []
    assert seconds < hosts.PATIENCE + 15.0
    assert all("the link is cut" in each and "newest checkpoint" in each for each in said)
    assert not any("Traceback" in each for each in said)

    recipe = Path(hosts.RECIPE)
    done = parent.train(tried, recipe, *hosts.overrides(2))
    assert done.code == 0 and "began in 2 and goes on in 1" in done.out + done.err
    assert len(list(tried.glob("runs/*/*"))) == 1
    assert parent.train(straight, recipe, *hosts.overrides(4)).code == 0
    assert hosts.apart(tried, straight) <= 1e-6
