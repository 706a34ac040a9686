"""Fuzzing led by coverage: ``make fuzz-coverage SECONDS=60``, so long for each kind in turn.

Needs atheris (the extra ``fuzz``). What fails is kept in the folder that is named; put it into
``tests/hostile/corpus/<kind>/`` when it is mended.
"""

from __future__ import annotations

import argparse
import json
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
RECIPES = HERE.parents[1] / "recipes"


def seeds(kind: str, folder: Path) -> None:
    """Good inputs to begin with, beside those of the corpus."""
    folder.mkdir(parents=True)
    for path in (HERE / "corpus" / kind).glob("*"):
        shutil.copy(path, folder)
    if kind == "recipe":
        for path in RECIPES.glob("*.yaml"):
            shutil.copy(path, folder)
    elif kind == "rows":
        row = b'{"instruction": "a", "output": "b"}\n'
        texts = (row * 2, b"[" + row.strip() + b"]", b"a,b\n1,2\n", b"a\tb\n1\t2\n", b"", b"x\n")
        for number, text in enumerate(texts):
            (folder / f"good-{number}").write_bytes(bytes([number]) + text)
    else:
        entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
        text = json.dumps({"__metadata__": {"format": "pt"}, "a": entry}).encode()
        (folder / "good").write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))


def fuzz(kind: str, folder: str, arguments: list[str]) -> None:
    """Runs in a process of its own: the fuzzer ends it."""
    import atheris

    sys.path.insert(0, str(HERE))
    with atheris.instrument_imports(include=["ftune"]):
        import targets

    target, place = targets.TARGETS[kind], Path(folder)
    atheris.Setup([sys.argv[0], *arguments], lambda data: target(data, place))
    atheris.Fuzz()


def main() -> int:
    """Fuzzes each kind; 1 if something failed."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("--kinds", nargs="+", default=["recipe", "rows", "header"])
    chosen = options.parse_args()
    home = Path(tempfile.mkdtemp(prefix="ftune-fuzz-"))
    failed = []
    for kind in chosen.kinds:
        seeds(kind, home / kind / "seeds")
        limits = [f"-max_total_time={chosen.seconds}", "-timeout=20", "-rss_limit_mb=2048"]
        found = [f"-artifact_prefix={home / kind}/", str(home / kind / "seeds")]
        line = [sys.executable, __file__, "one", kind, str(home / kind), *limits, *found]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        said = [x for x in done.stderr.splitlines() if x.startswith(("Done", "#", "stat"))]
        print(f"{kind}: {said[-1] if said else done.stderr[-2000:]}", flush=True)
        if done.returncode:
            failed.append(kind)
            print(done.stdout[-3000:] + done.stderr[-3000:])
    print(f"{home}: {', '.join(failed) + ' failed' if failed else 'nothing failed'}")
    return int(bool(failed))


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        fuzz(sys.argv[2], sys.argv[3], sys.argv[4:])
    else:
        sys.exit(main())
