"""A process that has imported everything already, and runs ftune's command line in forks of itself.

Reads requests as JSON lines on standard input: {"start": [arguments], "cwd", "out", "err"} answers
with the child's pid, {"ended": pid} with 1 or 0, {"wait": pid} with its exit code (negative: the
signal that ended it). Only modules are imported before a fork, and nothing is computed: a fork
after threads began could hang.
"""

from __future__ import annotations

import json
import os
import signal
import sys

MODULES = (
    "accelerate",
    "bitsandbytes",
    "matplotlib.figure",
    "peft",
    "pyarrow.ipc",
    "rouge_score.rouge_scorer",
    "sacrebleu.metrics.bleu",
    "transformers.models.llama.modeling_llama",
)
CHILDREN = ("__main__", "sandbox_child")  # of ftune; programs, which begin when they are imported


def run(request: dict) -> None:
    """In the child: becomes ``ftune`` with these arguments."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(
            number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        )
    os.chdir(request["cwd"])
    for stream, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, request["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, request["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        os.dup2(os.open(path, flags, 0o644), stream)
    sys.argv = ["ftune", *request["start"]]
    from ftune.cli.app import main

    code = 1
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    """Answers requests until standard input ends."""
    import importlib
    import pkgutil

    import ftune

    own = (m.name for m in pkgutil.walk_packages(ftune.__path__, "ftune."))
    for module in [*MODULES, *(m for m in own if not m.endswith(CHILDREN))]:
        importlib.import_module(module)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    print("ready", file=answers)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            print(os.waitstatus_to_exitcode(status), file=answers)
            continue
        if "ended" in request:
            how = os.WEXITED | os.WNOHANG | os.WNOWAIT
            print(int(bool(os.waitid(os.P_PID, request["ended"], how))), file=answers)
            continue
        pid = os.fork()
        if pid == 0:
            run(request)
        print(pid, file=answers)


if __name__ == "__main__":
    serve()
