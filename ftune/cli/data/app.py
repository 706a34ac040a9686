"""The verbs of ``ftune data``."""

from __future__ import annotations

import typer

from ftune.cli.data.check import check
from ftune.cli.data.convert import convert
from ftune.cli.data.dedup import dedup
from ftune.cli.data.preview import preview
from ftune.cli.data.split import split
from ftune.cli.data.stats import stats

data_app = typer.Typer(no_args_is_help=True, help="Look at data files, and mend them.")
for verb in (stats, preview, split, dedup, check, convert):
    data_app.command(verb.__name__)(verb)
