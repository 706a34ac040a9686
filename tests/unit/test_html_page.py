"""report.html: what is on it, that data stays data, and that it stands alone."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fake_run import LEDGER, RECIPE, fake_run, put, put_lines, score, stage

from ftune.data.preview import Previewed, markdown
from ftune.report.html.flow import flow
from ftune.report.html.preview import preview
from ftune.report.write import write_run_report

EVIL = "</script><img src=x onerror=alert(1)>\u2028\u2029\"'&<!--<script>"


class Seen(HTMLParser):
    """The elements of a page with their attributes, and the texts of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem:
            self.inside.append((self.cdata_elem, data))


def written(folder: Path) -> tuple[str, Seen, dict]:
    write_run_report(folder)
    page = (folder / "report.html").read_text(encoding="utf-8")
    seen = Seen()
    seen.feed(page)
    held = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert held
    return page, seen, json.loads(held[1])


def test_a_whole_run_has_everything(tmp_path: Path) -> None:
    page, _, held = written(fake_run(tmp_path))
    assert "bleu rose from 2.12 to 64.50 (+62.38) on 20 test rows" in page
    assert page.count('class="bars"') == 2
    assert "1.59 to 2.66" in page
    assert page.count('class="badge good">better') == 2
    assert "train: 2 rows were cut" in page
    assert "learning_rate: 0.0005" in page
    assert "packages: torch" in page
    assert [chart["title"] for chart in held["charts"]][:2] == ["Loss per token", "Learning rate"]
    labels = [line["label"] for line in held["charts"][0]["lines"]]
    assert labels == ["training", "training, smoothed", "evaluation"]
    assert len(held["predictions"]) == 20
    assert held["predictions"][0]["references"] == ["said 1"]


def test_text_from_data_is_never_markup(tmp_path: Path) -> None:
    recipe = {**RECIPE, "model": {"name_or_path": EVIL}}
    folder = fake_run(tmp_path, recipe=recipe, scores=[score(EVIL, 1.0, 2.0)])
    (folder / "recipe.yaml").write_text(f"# {EVIL}\nname: demo\n", encoding="utf-8")
    facts = {"name": EVIL, "id": EVIL, "state": "failed", "error": EVIL, "command": [EVIL]}
    put(folder / "run.json", facts)
    put(folder / "environment.json", {EVIL: EVIL})
    stage(folder, "format", {"ledger": {"train": [{**LEDGER, "source": EVIL, "read": 9}]}})
    stage(folder, "train", {EVIL: EVIL}, (EVIL,))
    row = {"row": 1, "source": EVIL, "prompt": EVIL, "references": [EVIL], "tuned": EVIL}
    put_lines(folder / "evaluate" / "predictions.jsonl", [row])
    (folder / "format" / "preview.md").write_text(
        markdown([Previewed(EVIL, (EVIL, "a|b\\|`"), (1, 2), (True, False))]), encoding="utf-8"
    )
    page, seen, held = written(folder)
    assert held["predictions"][0]["prompt"] == EVIL
    assert "img" not in {tag for tag, _ in seen.elements}
    assert [tag for tag, _ in seen.elements].count("script") == 3
    assert not [name for _, given in seen.elements for name in given if name.startswith("on")]
    assert "\u2028" not in json.dumps(held) and "<!--" not in page.partition("</footer>")[2][:4000]
    data = re.search(r'id="data">(.*?)</script>', page)
    assert data and not set("<>&\u2028\u2029") & set(data[1])


def test_only_its_own_scripts_and_styles_may_run(tmp_path: Path) -> None:
    page, seen, _ = written(fake_run(tmp_path))
    policy = next(g["content"] for t, g in seen.elements if t == "meta" and "http-equiv" in g)
    assert policy and policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy
    for kind in ("script", "style"):
        for body in re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL):
            digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
            assert f"{kind}-src" in policy and f"'sha256-{digest}'" in policy
    for _, given in seen.elements:
        assert not {"src", "href", "style", "srcset"} & set(given)


def test_the_same_run_gives_the_same_bytes_and_a_small_page(tmp_path: Path) -> None:
    folder = fake_run(tmp_path)
    first, _, _ = written(folder)
    again, _, _ = written(folder)
    assert first == again
    long = {"prompt": "字" * 5000, "tuned": "<" * 5000, "references": ["é" * 5000] * 3}
    rows = [{"row": i, **long} for i in range(1000)]
    put_lines(folder / "evaluate" / "predictions.jsonl", rows)
    line = {"loss": 1.23456789, "grad_norm": 0.5, "learning_rate": 1e-4, "memory_bytes": 1e9}
    put_lines(folder / "train" / "metrics.jsonl", [{"step": i, **line} for i in range(20_000)])
    page, _, held = written(folder)
    assert len(page.encode()) < 1_500_000
    shown = [one["row"] for one in held["predictions"]]
    assert 20 < len(shown) < 100 and shown[0] == 0 and shown[-1] > 900
    assert f"{len(shown)} of the test rows" in page


@pytest.mark.parametrize("gone", ["evaluate", "train", "format", "load", "all", "torn"])
def test_a_run_that_is_half_there_has_a_page(tmp_path: Path, gone: str) -> None:
    import shutil

    folder = fake_run(tmp_path, state="interrupted")
    for name in ("format", "load", "train", "evaluate"):
        if gone in (name, "all"):
            shutil.rmtree(folder / name)
        elif gone == "torn":
            for path in (folder / name).iterdir():
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    page, _, _ = written(folder)
    assert "was interrupted" in page
    assert ('id="metrics"' in page) == (gone in ("train", "format", "load"))
    assert ('id="charts"' in page) == (gone not in ("train", "all"))


def test_the_preview_gives_back_each_token_with_its_mask(tmp_path: Path) -> None:
    pieces = ("it's", ' "so"', "\n", "a|b", "`", "\\", "", "«é»", "\\|", " ")
    trained = (True, False) * 5
    ids = tuple(range(10))
    path = tmp_path / "preview.md"
    path.write_text(markdown([Previewed("Source 1, row 3", pieces, ids, trained)]), "utf-8")

    class Tokens(HTMLParser):
        found: list[list[str]] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "span":
                self.found.append([dict(attrs)["class"] or "", ""])

        def handle_data(self, data: str) -> None:
            if self.found:
                self.found[-1][1] += data

    reader = Tokens()
    reader.found = []
    reader.feed(preview(path).replace("</p>", ""))
    shown = [piece.replace("\n", "⏎\n") or "∅" for piece in pieces]
    assert [text for _, text in reader.found] == shown
    assert [kind for kind, _ in reader.found] == ["on" if flag else "off" for flag in trained]
    assert preview(tmp_path / "none.md") == ""


def test_the_flow_is_as_high_as_its_counts() -> None:
    one = {"source": "a", "read": 100, "used": 60, "bad": 10, "dropped": {"too long": 30}}
    one |= {"tokens": 1000, "trained": 250}
    two = {"source": "b", "read": 100, "used": 0, "bad": 100}
    drawn = flow({"ledger": {"train": [one, two]}})
    heights = re.findall(r'class="box (\w+)".*?height="([\d.]+)"', drawn)
    found = [(kind, float(height)) for kind, height in heights]
    assert found == [
        ("in", 110.0), ("in", 110.0), ("used", 66.0), ("off", 121.0), ("off", 33.0),
        ("trained", 16.5), ("off", 49.5),
    ]  # fmt: skip
    assert "250 tokens (25.0%)" in drawn and "dropped: too long" in drawn
    assert flow({}) == "" and flow({"ledger": {"train": [{"source": "a"}]}}) == ""


def test_perturbed_questions_are_folded_and_percentages_reach_to_100(tmp_path: Path) -> None:
    plain, typos = score("em", 2.0, 4.0), score("em (typos)", 1.0, 2.0)
    plain["unit"], plain["tuned_interval"] = "%", None
    typos["signature"] += "|perturbed:typos"
    page, _, _ = written(fake_run(tmp_path, scores=[plain, typos]))
    open_part, _, folded = page.partition("Asked in perturbed words (1)")
    assert "em (typos)" in folded and "em (typos)" not in open_part
    # 4 of 100 is a short bar, and not the whole width.
    wide = float(re.findall(r'<rect class="after"[^>]*? width="([0-9.]+)"', open_part)[0])
    assert wide == pytest.approx(256 * 0.04, abs=0.1)
    assert "scale to 100" in open_part
