"""The pages made from the code are up to date."""

from __future__ import annotations

import pytest

from ftune.recipe import reference


@pytest.mark.parametrize(
    ("file", "made"),
    [(reference.PAGE, reference.page), (reference.SCHEMA, reference.schema_text)],
    ids=["page", "schema"],
)
def test_it_has_not_drifted(file, made) -> None:
    assert file.read_text(encoding="utf-8") == made(), "run `make docs`"


def test_the_check_says_so() -> None:
    assert reference.main(["--check"]) == 0
