"""``ftune runs serve``: over HTTP, what may be reached and what may not; and in a browser."""

from __future__ import annotations

import builtins
import http.client
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fake_run import fake_run, hold, put, put_lines
from typer.testing import CliRunner

from ftune.cli.runs import runs_app
from ftune.errors import RunError

SECRET = "not for browsers"


@dataclass(frozen=True)
class Server:
    runs: Path
    port: int

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        """Sends the path exactly as it is."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        link.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            link.putheader(name, value)
        link.endheaders()
        answer = link.getresponse()
        text = answer.read().decode("utf-8")
        link.close()
        return answer.status, text


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    home = tmp_path_factory.mktemp("home")
    outside = fake_run(home / "outside", "private", "007")
    (outside / "recipe.yaml").write_text(SECRET, encoding="utf-8")
    (home / "secret.txt").write_text(SECRET, encoding="utf-8")
    runs = home / "runs"
    fake_run(runs, "demo")
    fake_run(runs, "a b#&<é", "002", state="failed", error="x")
    hold(fake_run(runs, "living", state="running"))
    put(runs / "demo/001/evaluations/001/report.json", {"model": "said", "on": "eval"})
    put(runs / "demo/evaluations/002/report.json", {"model": "apart", "on": "eval"})
    (runs / "demo/sweep.html").write_text("the sweep", encoding="utf-8")
    (runs / "living/sweep.html").symlink_to(home / "secret.txt")
    put(runs / "living/001/evaluations/001/report.json", {"on": "eval"})
    (runs / "living/001/evaluations/001/recipe.resolved.yaml").symlink_to(home / "secret.txt")
    leak = fake_run(runs, "leak")
    (leak / "recipe.yaml").symlink_to(home / "secret.txt")
    (runs / "linked").symlink_to(outside.parent)
    (runs / "demo" / "008").symlink_to(outside)
    command = [sys.executable, "-m", "ftune", "runs", "serve", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--runs-dir", str(runs)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    said = process.stdout.readline()
    found = re.match(r"http://127\.0\.0\.1:(\d+) ", said)
    try:
        assert found, said
        yield Server(runs, int(found[1]))
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert "Traceback" not in errors


def test_the_index_names_the_runs_with_state_and_curve(server: Server) -> None:
    status, page = server.get("/")
    assert status == 200
    assert "<h1>3 runs</h1>" in page
    assert page.count('class="spark"') == 3
    assert 'href="/run/demo/001"' in page and ">a b#&amp;&lt;é/002<" in page
    assert ">running<" in page and ">failed<" in page
    assert 'href="/run/a%20b%23%26%3C%C3%A9/002"' in page
    assert "connect-src 'self'" in page and "unsafe" not in page.partition("<title>")[0]


def test_a_run_has_its_page_as_it_is_now(server: Server) -> None:
    status, page = server.get("/run/demo/001")
    assert status == 200 and "bleu rose from 2.12 to 64.50" in page
    assert server.get("/run/a%20b%23%26%3C%C3%A9/002")[0] == 200
    before = server.get("/state/run/living/001")
    assert before == server.get("/state/run/living/001") and before[0] == 200
    everything = server.get("/state/")
    lines = [{"step": 1, "loss": 7.5}, {"step": 2, "loss": 6.5}]
    put_lines(server.runs / "living" / "001" / "train" / "metrics.jsonl", lines)
    assert server.get("/state/run/living/001") != before
    assert server.get("/state/") != everything
    assert '"y":[7.5,6.5]' in server.get("/run/living/001")[1]


def test_sweeps_and_evaluations_are_shown_as_their_files_lie(server: Server) -> None:
    home = server.get("/")[1]
    for name in ("demo/sweep.html", "demo/001/evaluations/001/report.html"):
        assert f'href="/runs/{name}"' in home
    assert server.get("/runs/demo/sweep.html") == (200, "the sweep")
    assert ">said<" in server.get("/runs/demo/001/evaluations/001/report.html")[1]
    assert ">apart<" in server.get("/runs/demo/evaluations/002/report.html")[1]
    page = server.get("/runs/demo/001/report.html")[1]  # where a sweep's page links to
    assert "bleu rose" in page and server.get("/state/runs/demo/001/report.html")[0] == 200
    for hidden in ("living/sweep.html", "living/001/evaluations/001/report.html"):
        assert server.get(f"/runs/{hidden}")[0] == 404 and hidden not in home
    assert server.get("/runs/demo/001/evaluations/001/report.json")[0] == 404


@pytest.mark.parametrize("prefix", ["/run/", "/state/run/", "/", "/state/", "/runs/"])
@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt", "..%2fsecret.txt", "%2e%2e/secret.txt", "demo/001/../../../secret.txt",
        "demo/001/recipe.yaml", "demo/008", "linked/007", "leak/001", "private/007", "demo",
        "demo/001/", "/etc/passwd", "%2fetc%2fpasswd", "..%5c..%5csecret.txt", "demo%00/001",
        "%c0%ae%c0%ae/secret.txt", "..%252fsecret.txt", "../outside/private/007",
        "%2e%2e%2foutside%2fprivate%2f007", "demo/../linked/007", "demo//001", "./demo/001",
    ],
)  # fmt: skip
def test_nothing_else_is_reached(server: Server, prefix: str, path: str) -> None:
    status, text = server.get(prefix + path)
    assert status in (400, 404)
    assert SECRET not in text and "root:" not in text


def test_only_this_machines_names_are_answered(server: Server) -> None:
    good = f"localhost:{server.port}"
    assert server.get("/", Host=good)[0] == 200
    for host in ("evil.example", f"evil.example:{server.port}", "127.0.0.1.evil.example", ""):
        status, text = server.get("/run/demo/001", Host=host)
        assert status == 400 and "bleu" not in text
    with socket.socket() as probe:  # of another address of this machine it hears nothing
        assert probe.connect_ex(("127.0.0.2", server.port)) != 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_only_reads(server: Server, method: str) -> None:
    assert server.get("/run/demo/001", method)[0] == 405


def test_a_browser_shows_it_without_an_error(server: Server, tmp_path: Path) -> None:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip(f"no browser here: none of {', '.join(names)} is installed")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    options += ["--virtual-time-budget=3000", f"--user-data-dir={tmp_path}", "--dump-dom"]
    for path, count in (("/", 0), ("/run/demo/001", 3)):
        ended = subprocess.run(
            [browser, *options, f"http://127.0.0.1:{server.port}{path}"],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        assert "CONSOLE" not in ended.stderr, ended.stderr
        assert ended.stdout.count("<canvas") == count


def serve(*arguments: object) -> None:
    runner = CliRunner()
    runner.invoke(
        runs_app, ["serve", *map(str, arguments)], catch_exceptions=False, standalone_mode=False
    )


def test_bad_input_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match="is no folder"):
        serve("--runs-dir", tmp_path / "none")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(RunError, match=r"can't be taken .*--port 0"):
            serve("--runs-dir", tmp_path, "--port", taken.getsockname()[1])
    plain = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] in ("starlette", "uvicorn"):
            raise ImportError(name)
        return plain(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RunError, match=r"pip install 'ftune\[serve\]'"):
        serve("--runs-dir", tmp_path)
