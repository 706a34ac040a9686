"""``ftune generate``: answers one prompt, a file of prompts, or a chat on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ftune.cli.options import Json, Overrides, RemoteCode, RunsDir, Target


def generate(
    target: Target,
    prompt: Annotated[str | None, typer.Option("--prompt", "-p", help="One prompt.")] = None,
    input: Annotated[
        Path | None,
        typer.Option("--input", help="Prompts: a txt of lines, or jsonl of prompt or messages."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write answers to this jsonl file.")
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="Talk to the model on the terminal.")
    ] = False,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            "--adapter",
            metavar="[NAME=]RUN",
            help="Another run or adapter's folder on the same base, to switch to; repeatable.",
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", help="Of a run that was trained for several tasks, the one asked."),
    ] = None,
    base: Annotated[bool, typer.Option("--base", help="Ask the base model, untuned.")] = False,
    override: Overrides = None,
    runs_dir: RunsDir = Path("runs"),
    trust_remote_code: RemoteCode = False,
    json: Json = False,
) -> None:
    """Generate with a run's model, rendered by the very template it was trained with."""
    from ftune.cli.screen import Screen
    from ftune.errors import RecipeError
    from ftune.stages.answer import Ask, ask
    from ftune.stages.several import speakers
    from ftune.stages.target import find

    if sum([prompt is not None, input is not None, chat]) != 1:
        raise RecipeError("ftune generate takes one of --prompt, --input and --chat")
    if output is not None and input is None:
        raise RecipeError("--output belongs to --input: it takes the answers to a file of prompts")
    # Answers alone go to standard output.
    screen = Screen(json=True)
    found = find(target, override or (), runs_dir, trust_remote_code)
    several = (
        speakers(found, adapter, override or (), runs_dir, trust_remote_code) if adapter else ()
    )
    wish = Ask(prompt, input, output, chat, base, trust_remote_code, several, task)
    ask(found, wish, screen, json)
