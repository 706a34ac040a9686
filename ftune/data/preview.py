"""The first rows as tokens with their mask, for people to look at before hours are spent.

In Markdown, trained tokens stand in «» and every token in a table; on a terminal they have colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftune.data.store import TokenStore
from ftune.run.atomic import write_text
from ftune.types import Tokens

if TYPE_CHECKING:
    from rich.console import RenderableType

ROWS = 10  # examples on the page
MOST_TOKENS = 400  # rows of the table of one example
LONGEST_CHARACTER = 4  # bytes of UTF-8, so tokens that one character can take

Runs = list[tuple[str, bool]]  # texts, and whether they are trained


@dataclass(frozen=True, slots=True)
class Previewed:
    """An example as a person reads it: ``title`` says where it comes from."""

    title: str
    pieces: tuple[str, ...]  # the text of each token
    ids: tuple[int, ...]
    trained: tuple[bool, ...]
    truncated: int = 0

    @property
    def runs(self) -> Runs:
        """Neighbouring tokens of one kind put together."""
        found: Runs = []
        for text, trained in zip(self.pieces, self.trained, strict=True):
            if found and found[-1][1] is trained:
                found[-1] = (found[-1][0] + text, trained)
            else:
                found.append((text, trained))
        return found

    @property
    def counts(self) -> str:
        """How many tokens, and how many of them trained, in words."""
        cut = f", {self.truncated} cut off" if self.truncated else ""
        return f"{len(self.ids)} tokens, {sum(self.trained)} trained{cut}"


def first_rows(store: TokenStore, tokenizer: Any) -> list[Previewed]:
    """The first rows of a file of tokens; their sources are counted from 1, as in the recipe."""
    found = []
    for index in range(min(ROWS, len(store))):
        ids, trained = store[index]
        title = f"Source {store.sources[index] + 1}, row {store.rows[index]}"
        tokens = Tokens(ids.tolist(), trained.tolist(), truncated=int(store.truncated[index]))
        found.append(previewed(title, tokens, tokenizer))
    return found


def previewed(title: str, tokens: Tokens, tokenizer: Any) -> Previewed:
    """The example with the text of each of its tokens."""
    ids = tuple(int(token) for token in tokens.ids)
    trained = tuple(bool(flag) for flag in tokens.trained)
    return Previewed(title, _pieces(ids, tokenizer), ids, trained, tokens.truncated)


def _pieces(ids: Sequence[int], tokenizer: Any) -> tuple[str, ...]:
    """Each token's part of the decoded text: a character of several tokens stands at its last."""
    pieces: list[str] = []
    before: list[int] = []  # whole characters before, so that a decoder keeps a first space
    waiting: list[int] = []
    for token in ids:
        waiting.append(token)
        text = _decoded([*before, *waiting], tokenizer)
        text = text.removeprefix(_decoded(before, tokenizer))
        if text.endswith("�") and len(waiting) < LONGEST_CHARACTER:
            pieces.append("")
            continue
        pieces.append(text)
        before, waiting = waiting, []
    return tuple(pieces)


def _decoded(ids: Sequence[int], tokenizer: Any) -> str:
    if not ids:
        return ""
    kept = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
    return str(tokenizer.decode(list(ids), **kept))


def markdown(examples: Sequence[Previewed]) -> str:
    """The text of preview.md."""
    lines = [
        "# Preview",
        "",
        "What the model sees, and between « and » what it is trained to write. ",
        "Everything else is masked.",
        "",
    ]
    for one in examples:
        lines += [f"## {one.title}", "", f"{one.counts}.", ""]
        text = "".join(f"«{text}»" if trained else text for text, trained in one.runs)
        fence = "`" * max(3, 1 + _longest_run(text, "`"))
        lines += [f"{fence}text", text, fence, "", "<details><summary>Token by token</summary>", ""]
        lines += ["| | id | text | trained |", "| ---: | ---: | --- | --- |"]
        rows = list(zip(one.ids, one.pieces, one.trained, strict=True))
        for number, (token, piece, trained) in enumerate(rows[:MOST_TOKENS]):
            mark = "**yes**" if trained else ""
            lines.append(f"| {number} | {token} | {_cell(piece)} | {mark} |")
        if len(rows) > MOST_TOKENS:
            lines.append(f"| | | and {len(rows) - MOST_TOKENS} more | |")
        lines += ["", "</details>", ""]
    return "\n".join(lines)


def _longest_run(text: str, mark: str) -> int:
    longest = run = 0
    for character in text:
        run = run + 1 if character == mark else 0
        longest = max(longest, run)
    return longest


def _cell(piece: str) -> str:
    """A token's text as code in a table: white space visible, nothing that ends the cell."""
    shown = repr(piece)[1:-1].replace("|", "\\|")
    fence = "`" * (1 + _longest_run(shown, "`"))
    pad = " " if "`" in shown else ""
    return f"{fence}{pad}{shown}{pad}{fence}" if shown else ""


def rich_page(examples: Sequence[Previewed]) -> RenderableType:
    """The same for a terminal: what is trained is green and bold, the rest dim."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    panels = []
    for one in examples:
        body = Text()
        for text, trained in one.runs:
            body.append(text, style="bold green" if trained else "dim")
        panels.append(Panel(body, title=Text(one.title), subtitle=Text(one.counts)))
    return Group(*panels)


def write_preview(page: Path, tokens: Path, tokenizer: Any) -> None:
    """Writes preview.md from a file of tokens."""
    write_text(page, markdown(first_rows(TokenStore(tokens), tokenizer)))
