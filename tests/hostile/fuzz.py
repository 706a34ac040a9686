"""Mutated recipes, data, models and templates through the command line: ``make fuzz N=300``.

Each is drawn from a seed. It has to end with a right exit code and one message, without a
traceback, in bounded time, and to write nothing but its run directory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "contract"))

from calling import Ended, call, contents
from small_runs import make_home

SECONDS = 20  # within which each must end
RECIPES = Path(__file__).parents[2] / "recipes"
HOSTILE = (
    "../x", "/etc/passwd", "~", "null", "{}", "[]", "-1", "1e999", ".nan", "0x10", "!!python/none",
    "&a [*a]", "*a", "<<: *a", "'", '"', "\t", "\0", "\x7f", "é", "\ud83d\ude00", "a" * 400,
    "{{ ''.__class__.__mro__ }}", "{% for x in range(10**9) %}x{% endfor %}", "$(id)", "...", "---",
    "2001-01-01", "12:30:45", "no", "1_000", "99999999999999999999999",
)  # fmt: skip
FIELDS = ("null", "[]", "{}", "-1", "1e999", '""', '"x"', "true", "[[[]]]", "9" * 30, '"\\ud800"')
WALK = ("--preview",)
ONE_STEP = ("-o", "train.max_steps=1", "-o", "evaluate.base=false")


def edited(data: bytes, rng: random.Random, pieces: tuple[str, ...] = HOSTILE) -> bytes:
    """One to four edits: a byte, a cut, a repeated or removed stretch, a hostile piece."""
    for _ in range(rng.randint(1, 4)):
        at, end = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
        end = min(end, at + rng.choice((1, 8, 200)))
        what = rng.choice(("flip", "cut", "remove", "repeat", "piece", "piece"))
        if what == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        elif what == "cut" and rng.random() < 0.3:
            data = data[:at]
        elif what == "remove":
            data = data[:at] + data[end:]
        elif what == "repeat":
            data = data[:end] + data[at:end] * rng.randint(1, 50) + data[end:]
        elif what == "piece":
            piece = rng.choice(pieces).encode("utf-8", "surrogatepass")
            data = data[:at] + piece + data[end if rng.random() < 0.5 else at :]
    return data


def recipe(home: Path, rng: random.Random) -> tuple[str, ...]:
    """A recipe that ships, or the good one, edited; or the value of one line replaced."""
    source = rng.choice([home / "recipe.yaml", rng.choice(sorted(RECIPES.glob("*.yaml")))])
    lines = source.read_text(encoding="utf-8").splitlines()
    if rng.random() < 0.5:
        at = rng.choice([i for i, line in enumerate(lines) if ":" in line])
        lines[at] = f"{lines[at].partition(':')[0]}: {rng.choice(HOSTILE)}"
        data = "\n".join(lines).encode("utf-8", "surrogatepass")
    else:
        data = edited("\n".join(lines).encode(), rng)
    (home / "mutated.yaml").write_bytes(data)
    return ("validate", "mutated.yaml")


def data(home: Path, rng: random.Random) -> tuple[str, ...]:
    """Rows as JSON lines, CSV or parquet, edited."""
    rows = [json.loads(x) for x in (home / "train.jsonl").read_text().splitlines()]
    kind = rng.choice(("jsonl", "csv", "parquet"))
    path = home / f"mutated.{kind}"
    if kind == "jsonl":
        raw = (home / "train.jsonl").read_bytes()
    elif kind == "csv":
        lines = [",".join(rows[0]), *(",".join(f'"{v}"' for v in r.values()) for r in rows)]
        raw = "\n".join(lines).encode()
    else:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        raw = path.read_bytes()
    path.write_bytes(edited(raw, rng, FIELDS + HOSTILE))
    return ("train", "recipe.yaml", *WALK, "-o", f"data.train.0.path={path.name}")


def weights(home: Path, rng: random.Random) -> tuple[str, ...]:
    """A safetensors file with another header, or edited anywhere."""
    path = home / "model/model.safetensors"
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header, body = json.loads(raw[8 : 8 + size]), raw[8 + size :]
    name = rng.choice([key for key in header if key != "__metadata__"])
    entry = header[name]
    what = rng.choice(("offsets", "shape", "dtype", "size", "twice", "gone", "bytes"))
    if what == "offsets":
        entry["data_offsets"] = rng.choice(([0, 4], [-4, 4], [8, 0], [0, 2**62], ["0", None], []))
    elif what == "shape":
        entry["shape"] = rng.choice(([], [-1], [2**40, 2**40], [0], "x", [1.5], entry["shape"][:1]))
    elif what == "dtype":
        entry["dtype"] = rng.choice(("F64", "U8", "X9", None, 7, "BF16"))
    elif what == "gone":
        del header[name]
    text = json.dumps(header).encode()
    if what == "twice":
        text = text[:-1] + b"," + json.dumps({name: entry}).encode()[1:]
    length = rng.choice((0, 1, 10**8, 2**63, 2**64 - 1)) if what == "size" else len(text)
    raw = struct.pack("<Q", length) + text + body
    path.write_bytes(edited(raw, rng) if what == "bytes" else raw)
    return ("train", "recipe.yaml", *ONE_STEP)


def pieces(home: Path, rng: random.Random) -> tuple[str, ...]:
    """A file of the model gone, empty, edited, or a link out of its folder."""
    names = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
    path = home / "model" / rng.choice(names)
    what = rng.choice(("gone", "empty", "edited", "edited", "link"))
    raw = path.read_bytes()
    path.unlink()
    if what == "empty":
        path.touch()
    elif what == "edited":
        path.write_bytes(edited(raw, rng, FIELDS + HOSTILE))
    elif what == "link":
        path.symlink_to("/dev/zero" if rng.random() < 0.5 else "/etc/hostname")
    return ("train", "recipe.yaml", *WALK)


KINDS: dict[str, tuple[Callable[[Path, random.Random], tuple[str, ...]], set[int]]] = {
    "recipe": (recipe, {0, 2, 3, 4}),  # one that names other data or another model is no bad recipe
    "data": (data, {0, 2, 3}),
    "weights": (weights, {0, 4, 5}),
    "pieces": (pieces, {0, 2, 3, 4}),
}


def trial(kind: str, seed: int, good: Path, folder: Path) -> tuple[str, str]:
    """Ends in the folder; gives the exit code as text, and what was wrong ("" if nothing was)."""
    draw, right = KINDS[kind]
    home = Path(shutil.copytree(good, folder / "home"))
    arguments = draw(home, random.Random(f"{kind}-{seed}"))
    before = contents(folder)
    try:
        with at_most(SECONDS):
            ended: Ended = call(*arguments, within=home)
    except TimeoutError:
        return "none", f"still running after {SECONDS} s"
    wrong = [word for word in ("Traceback", "this is a bug") if word in ended.said]
    if ended.code not in right:
        wrong.append(f"exit code {ended.code}")
    if ended.code and not ended.err.strip():
        wrong.append("nothing said")
    after = contents(folder)
    wrong += [f"{name} changed" for name in before if after.get(name) != before[name]]
    wrong += [f"{name} written" for name in after.keys() - before.keys()
              if not name.startswith("home/runs")]  # fmt: skip
    return str(ended.code), "; ".join(wrong) + (f": {ended.err[-400:]}" if wrong else "")


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Raises TimeoutError after so many seconds."""

    def late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run(kind: str, seeds: range, good: Path) -> tuple[Counter[str], list[str], float]:
    """Counts by exit code, the failures, and the longest time in seconds."""
    codes: Counter[str] = Counter()
    failures, longest = [], 0.0
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            since = time.monotonic()
            code, wrong = trial(kind, seed, good, Path(folder))
            longest = max(longest, time.monotonic() - since)
        codes[code] += 1
        if wrong:
            failures.append(f"{kind} {seed}: {wrong}")
    return codes, failures, longest


def home_of(folder: Path) -> Path:
    """A folder in which all is well."""
    recipe_file = make_home(folder)
    text = recipe_file.read_text().replace(str(folder / "model"), "./model")
    recipe_file.write_text(text)
    return folder


def main() -> int:
    """Runs the trials and prints counts; 1 if one failed."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--trials", type=int, default=300, help="of each kind")
    asked.add_argument("--first", type=int, default=0, help="first seed")
    asked.add_argument("--kind", choices=KINDS, action="append", help="only this one")
    given = asked.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        good = home_of(Path(folder) / "good")
        for kind in given.kind or KINDS:
            seeds = range(given.first, given.first + given.trials)
            codes, failures, longest = run(kind, seeds, good)
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            ends = ", ".join(f"{n} with {code}" for code, n in sorted(codes.items()))
            print(f"{kind}: {given.trials - len(failures)} of {given.trials} right ({ends}); "
                  f"longest {longest:.1f} s, memory up to {most:,.0f} MB", flush=True)  # fmt: skip
            print("".join(f"  {line}\n" for line in failures), end="", flush=True)
            failed += len(failures)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
