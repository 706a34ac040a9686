"""``ftune inspect``: what a training made, in words and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ftune.cli.options import Json, RemoteCode, RunsDir, Target
from ftune.cli.screen import Screen


def inspect(
    target: Target,
    top_k: Annotated[
        int, typer.Option(help="Tokens that are named for each vector of a soft prompt.")
    ] = 5,
    runs_dir: RunsDir = Path("runs"),
    trust_remote_code: RemoteCode = False,
    json: Json = False,
) -> None:
    """Show what a run trained: a soft prompt's nearest tokens, or how far each weight moved."""
    from ftune.stages.inspecting import inspect_run
    from ftune.stages.target import find

    screen = Screen(json=json)
    found = find(target, (), runs_dir, trust_remote_code)
    told = inspect_run(found, top_k, trust_remote_code, screen)
    if json:
        screen.answer(told)
    elif told["kind"] == "prompt":
        _prompt(screen, told)
    else:
        _changes(screen, told)


def _prompt(screen: Screen, told: dict[str, Any]) -> None:
    heads: tuple[str, ...] = (
        "vector",
        "length",
        "nearest by cosine",
        "nearest by distance",
        "of a token's gap",
    )
    rows = [
        (
            f"{place.get('task', '')} {place['number']}".strip(),
            f"{place['norm']:.3g}",
            _tokens(place["cosine"]),
            _tokens(place["euclidean"]),
            f"{place['ratio']:.2f}x",
        )
        for place in told["places"]
    ]
    screen.table(heads, rows, right=(0, 1, 4))
    ratios = sorted(place["ratio"] for place in told["places"])
    screen.say(
        f"of {told['tokens']:,} tokens, {told['sampled']:,} looked at: the nearest other token is "
        f"{told['neighbour_distance']:.3g} away (cosine {told['neighbour_cosine']:.2f}), a "
        f"token's length is {told['token_norm']:.3g} (medians)"
    )
    middle = ratios[len(ratios) // 2]
    screen.say(
        f"the vectors lie {middle:.2f} times so far from any token in the median, "
        f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        + (": between tokens rather than on them, so read the words with care" * (middle > 0.5))
    )


def _tokens(near: Any) -> str:
    return " ".join(f"{one['token']!r} {one['measure']:.2f}" for one in near)


def _changes(screen: Screen, told: dict[str, Any]) -> None:
    ranked = any(one["rank"] is not None for one in told["modules"])
    heads = ("weight", *["rank"] * ranked, "shape", "trained", "change", "of its size")
    rows = [
        (
            one["name"],
            *["" if one["rank"] is None else str(one["rank"])] * ranked,
            " x ".join(map(str, one["shape"])),
            f"{one['trained']:,}",
            f"{one['change']:.3g}",
            "" if one["relative"] is None else f"{100 * one['relative']:.3g}%",
        )
        for one in (*told["modules"], *told["layers"])
    ]
    screen.table(heads, rows, right=tuple(range(1, len(heads))))
    if told["beside"]:
        screen.say(
            f"besides, {told['beside']:,} numbers were trained in small nets behind the layers, "
            "which change no weight"
        )
    if told["of_rank_0"]:
        screen.say(f"of rank 0, so not trained: {', '.join(told['of_rank_0'])}")
    screen.say("change: Frobenius norm of what was added; of its size: beside the weight's own")
