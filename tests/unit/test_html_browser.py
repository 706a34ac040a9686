"""report.html in a real browser: it draws, says no error, and asks the network for nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from fake_run import fake_run, put_lines
from test_report_sweep import grid

from ftune.report.gather import gather
from ftune.report.html.tradeoff_page import tradeoff_page
from ftune.report.sweep import heads, swept
from ftune.report.sweep_page import write_sweep
from ftune.report.tradeoffs import tradeoffs
from ftune.report.write import write_run_report
from ftune.serve.index import index

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--enable-logging=stderr",
    "--virtual-time-budget=2000", "--host-resolver-rules=MAP * ~NOTFOUND",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
DARK, LIGHT = (f"--blink-settings=preferredColorScheme={n}" for n in (0, 1))
EVIL = '</script><img src="http://outside.invalid/x" onerror="console.error(1)">'
# What a browser asks of its maker by itself, with any page.
ITS_OWN = ("google.com", "gvt1.com", "googleapis.com", "gstatic.com")


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser here: none of {', '.join(BROWSERS)} is installed")
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = fake_run(tmp_path_factory.mktemp("runs"))
    rows = [
        {"row": i, "source": "t", "prompt": f"{EVIL} {i}", "references": ["a b c"], "tuned": "a c"}
        for i in range(25)
    ]
    put_lines(folder / "evaluate" / "predictions.jsonl", rows)
    write_run_report(folder)
    return folder / "report.html"


def shown(browser: str, page: Path, home: Path, scheme: str, size: str) -> str:
    """The page as the browser has made it, after no error and no request to the outside."""
    log = home / "net.json"
    options = [*QUIET, scheme, f"--window-size={size}", f"--user-data-dir={home / 'home'}"]
    ended = subprocess.run(
        [browser, *options, f"--log-net-log={log}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in ended.stderr, ended.stderr
    asked = set(re.findall(r'"url":"https?://([^/"]+)', log.read_text(errors="replace")))
    assert not [host for host in asked if not host.endswith(ITS_OWN)], asked
    assert "<img" not in ended.stdout
    return ended.stdout


@pytest.mark.parametrize(("scheme", "size"), [(LIGHT, "1200,900"), (DARK, "480,900")])
def test_it_draws_without_an_error_or_a_request(
    browser: str, report: Path, tmp_path: Path, scheme: str, size: str
) -> None:
    page = shown(browser, report, tmp_path, scheme, size)
    assert page.count("<canvas") == page.count('class="chart"') >= 2
    assert page.count('class="prediction"') == 10
    assert "page 1 of 3" in page and "25 of 25" in page
    assert page.count('class="missing">b<') == 10
    assert json.loads(re.findall(r'id="data">(.*?)</script>', page)[0])["charts"]


def test_a_sweep_and_a_comparison_are_drawn_with_axes_to_choose(
    browser: str, tmp_path: Path
) -> None:
    keys = {"tune.r": [1, 8, 64], "tune.target_modules": [("q",), ("q", EVIL)]}
    found = swept("g", tmp_path, grid(tmp_path, keys, lost=1))
    write_sweep(found, picture=False)
    page = shown(browser, tmp_path / "sweep.html", tmp_path, DARK, "480,900")
    assert page.count("<circle") == 5 and page.count('class="head"') == len(heads(found, True)) + 1
    assert re.search(r'<option value="0"[^>]*>tune.r</option>', page)
    runs = [gather(spot.folder) for spot in found.spots if spot.folder]
    (tmp_path / "compare.html").write_text(tradeoff_page(tradeoffs(runs)), encoding="utf-8")
    page = shown(browser, tmp_path / "compare.html", tmp_path, LIGHT, "1200,900")
    assert page.count("<canvas") == 2
    assert page.partition('id="scatter"')[2].partition("</section>")[0].count("<circle") == 5


def test_dark_and_light_are_two_pictures(browser: str, report: Path, tmp_path: Path) -> None:
    from matplotlib.image import imread

    means = []
    for name, scheme in (("light", LIGHT), ("dark", DARK)):
        picture = tmp_path / f"{name}.png"
        options = [*QUIET, scheme, "--window-size=800,600", f"--user-data-dir={tmp_path / name}"]
        command = [browser, *options, f"--screenshot={picture}", report.as_uri()]
        subprocess.run(command, capture_output=True, timeout=120, check=True)
        means.append(float(imread(picture)[..., :3].mean()))
    assert means[0] > 0.8 and means[1] < 0.3, means


MEASURE = """<script>addEventListener("load", () => setTimeout(() => {
const rows = [...document.querySelectorAll("tr")].map((row) => row.getBoundingClientRect().height);
const room = [...document.querySelectorAll(".wide")]
  .filter((box) => box.scrollWidth > box.clientWidth + 1);
parent.postMessage({page: document.title, wide: document.documentElement.scrollWidth,
  row: Math.max(0, ...rows), scrolled: room.map((e) => e.closest("section").id)}, "*");
}, 300))</script>"""
FRAMES = """<body><pre id="told"></pre><script>const told = [];
onmessage = (e) => { told.push(e.data); document.getElementById("told").textContent =
  JSON.stringify(told); }</script>"""


def measured(browser: str, pages: dict[str, str], home: Path, width: int) -> dict[str, dict]:
    """How wide each page is in a frame of so many pixels, how high its highest row of a table, and
    which sections hold something wider than themselves."""
    frames = FRAMES
    for name, page in pages.items():
        # The page's own policy would not let the measuring run.
        bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
        bare = re.sub(r"<title>.*?</title>", f"<title>{name}</title>", bare)
        (home / f"{name}.html").write_text(bare.replace("</body>", f"{MEASURE}</body>"), "utf-8")
        frames += f'<iframe src="{name}.html" style="width:{width}px;height:900px"></iframe>'
    (home / "frames.html").write_text(frames, encoding="utf-8")
    command = [browser, *QUIET, f"--user-data-dir={home / 'home'}", "--window-size=1500,900"]
    command += ["--dump-dom", (home / "frames.html").as_uri()]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="told">(.*?)</pre>', ended.stdout, re.DOTALL)
    assert found and found[1]
    return {one["page"]: one for one in json.loads(found[1])}


def test_pages_fit_a_phone_and_tables_a_desk(browser: str, tmp_path: Path) -> None:
    runs = [fake_run(tmp_path / "runs", f"sweep,learning_rate=0.00{n},rank=64") for n in (1, 2)]
    counted = ("prompts", "prompt_tokens_per_second", "seconds_per_prompt", "peak_memory_bytes")
    cost = dict.fromkeys((*counted, "generated_tokens_per_second", "generated_tokens"), 1234.5)
    for run in runs:
        report = json.loads((run / "evaluate" / "report.json").read_text(encoding="utf-8"))
        report["figures"]["cost"] = {"tuned": cost, "base": cost}
        (run / "evaluate" / "report.json").write_text(json.dumps(report), encoding="utf-8")
    counted = json.loads((runs[0] / "format" / "report.json").read_text(encoding="utf-8"))
    one = dict.fromkeys(("asked_percent", "rows_percent", "trained_percent"), 12.5)
    one |= dict.fromkeys(("bad", "examples", "held_out", "masked", "not_drawn", "read", "tokens",
                          "trained", "truncated", "used"), 1234)  # fmt: skip
    one |= {"source": "/a/long/path/of/several/folders/of_a_task_and_its_template.jsonl"}
    counted["figures"]["ledger"]["train"] = [one]
    (runs[0] / "format" / "report.json").write_text(json.dumps(counted), encoding="utf-8")
    write_run_report(runs[0])
    names = {f"{run.parent.name}/001": run for run in runs}
    pages = {
        "report": (runs[0] / "report.html").read_text("utf-8").replace("<details", "<details open"),
        "index": index(names, {}, {}),
        "compare": tradeoff_page(tradeoffs([gather(run) for run in runs])),
    }
    phone = measured(browser, pages, tmp_path, 390)
    assert {name: one["wide"] <= 390 for name, one in phone.items()} == dict.fromkeys(pages, True)
    assert phone["index"]["row"] < 200 and "runs" not in phone["index"]["scrolled"]
    assert "asking" not in phone["report"]["scrolled"]
    desk = measured(browser, pages, tmp_path, 1400)
    assert not any(one["scrolled"] for one in desk.values()), desk
    assert max(one["row"] for one in desk.values()) < 120, desk
