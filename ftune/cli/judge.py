"""``ftune judge``: two sets of answers, side by side before a judge."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftune.cli.options import Json, RemoteCode

if TYPE_CHECKING:
    from ftune.cli.screen import Screen

judge_app = typer.Typer(
    no_args_is_help=True, help="Have two sets of answers compared by a judge, in both orders."
)
SIDE = "A run (its tuned model), RUN:base, or a file of JSON lines with answers."


@judge_app.command("ask")
def ask(
    a: Annotated[str, typer.Argument(metavar="A", help=SIDE)],
    b: Annotated[str, typer.Argument(metavar="B", help=SIDE)],
    model: Annotated[str, typer.Option("--model", help="The judge: a hub id or a folder.")],
    questions: Annotated[
        Path | None, typer.Option("--questions", help="JSON lines of question_id and text.")
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Let it write its reasons first; else likelihood decides."),
    ] = False,
    out: Annotated[Path, typer.Option("--out", help="Folder for judgments and report.")] = Path(
        "judged"
    ),
    dtype: Annotated[str, typer.Option("--dtype", help="The judge's weights, as in recipes.")] = (
        "auto"
    ),
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Prompts at once.")] = 8,
    trust_remote_code: RemoteCode = False,
    json: Json = False,
) -> None:
    """Ask a judge which answers are better; every question is asked in both orders."""
    from ftune.cli.screen import Screen
    from ftune.errors import RecipeError
    from ftune.stages.judge import Judge
    from ftune.stages.judge import ask as asked
    from ftune.stages.sides import answers, with_questions

    if dtype not in ("auto", "float32", "bfloat16", "float16"):
        raise RecipeError(f"--dtype {dtype}: must be auto, float32, bfloat16 or float16")
    if (out / "judgments.jsonl").exists():
        raise RecipeError(f"--out {out}: holds judgments already; name another folder")
    sides = [answers(each) for each in (a, b)]
    if questions is not None:
        sides = [with_questions(each, questions) for each in sides]
    screen = Screen(json=json)
    who = Judge(model, dtype, explain, trust_remote_code, batch_size)
    _show(screen, asked(sides[0], sides[1], who, out, screen), json)
    screen.say(f"written to {out}")


@judge_app.command("read")
def read(
    verdicts: Annotated[
        list[Path], typer.Argument(metavar="VERDICTS...", help="JSON lines of verdicts on (A, B).")
    ],
    swapped: Annotated[
        list[Path] | None,
        typer.Option("--swapped", help="Those on (B, A), where they stand in a file of their own."),
    ] = None,
    names: Annotated[str, typer.Option("--names", help="What A and B are called.")] = "A,B",
    json: Json = False,
) -> None:
    """Count verdicts that were given before: win rate, ties, and the judge's bias by order."""
    from ftune.cli.screen import Screen
    from ftune.errors import RecipeError
    from ftune.stages.judge import read as counted

    called = names.split(",")
    if len(called) != 2 or not all(called):
        raise RecipeError(f"--names {names}: write two names with a comma between")
    found = counted(verdicts, swapped or (), (called[0], called[1]), None)
    _show(Screen(json=json), found, json)


def _show(screen: Screen, found: Mapping[str, Any], json: bool) -> None:
    screen.answer(found)
    if json:
        return
    a, b = found["a"], found["b"]
    rows = [
        (f"{a} wins", f"{found['a_wins']}"),
        ("tie, or another verdict in the other order", f"{found['ties']}"),
        (f"{b} wins", f"{found['b_wins']}"),
        ("same verdict in both orders", f"{found['consistent']:.1f}%"),
    ]
    if found["first_preferred"] is not None:
        words = f"{found['first_preferred']:.1f}% (p {found['bias_p']:.3g})"
        rows.append(("verdicts for the answer that stood first", words))
    screen.table((f"{found['pairs']} questions", ""), rows, right=(1,))
    screen.say(found["sentence"])
    if found["bias_p"] is not None and found["bias_p"] < 0.05:
        screen.warn("the judge's verdict depends on the order of the answers")
    if found["unread"]:
        screen.warn(f"{found['unread']} judgments ended without a verdict and were left out")
