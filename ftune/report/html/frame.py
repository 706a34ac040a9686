"""What holds a page together: styles, scripts, data, and a policy that allows nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any

from ftune import __version__
from ftune.report.html.pieces import data, words

SCRIPTS = ("uPlot.iife.min.js", "page.js")
STYLES = ("uPlot.min.css", "page.css")
SWITCH = '<button id="theme" type="button" aria-label="Light or dark">Light / dark</button>'


def document(
    title: str, body: str, payload: Any, live: bool = False, more: Sequence[str] = ()
) -> str:
    """The whole page; ``body`` is HTML and ``more`` are further scripts. A ``live`` one, which is
    served, asks its own server whether something changed, and loads itself again."""
    styles = [_asset(name) for name in STYLES]
    scripts = [_asset(name) for name in (*SCRIPTS, *more, *(("live.js",) if live else ()))]
    said = "" if live else " This page loads nothing from anywhere."
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts, styles, live)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{words(title)} · ftune</title>\n"
        f"{''.join(f'<style>{each}</style>' for each in styles)}\n</head>\n<body>\n"
        f"{body}\n<footer>ftune {words(__version__)}.{said} Charts: uPlot (MIT).</footer>\n"
        f'<script type="application/json" id="data">{data(payload)}</script>\n'
        f"{''.join(f'<script>{each}</script>' for each in scripts)}\n</body>\n</html>\n"
    )


def _asset(name: str) -> str:
    path = resources.files("ftune.assets") / "report" / name
    return path.read_text(encoding="utf-8").strip()


def _policy(scripts: list[str], styles: list[str], live: bool) -> str:
    """Only this page's own scripts and styles, named by their sha256; no address at all, or that
    of its server."""

    def named(parts: list[str]) -> str:
        digests = (hashlib.sha256(each.encode("utf-8")).digest() for each in parts)
        return " ".join(f"'sha256-{base64.b64encode(each).decode()}'" for each in digests)

    rules = f"default-src 'none'; script-src {named(scripts)}; style-src {named(styles)}"
    own = "; connect-src 'self'" if live else ""
    return f"{rules}{own}; base-uri 'none'; form-action 'none'"
