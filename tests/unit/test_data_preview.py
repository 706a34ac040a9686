"""The preview shows each token, and marks what is trained."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))
from chat_families import tokenizer

from ftune.data.preview import previewed, rich_page, write_preview
from ftune.data.render import tokens
from ftune.data.rules import Rules
from ftune.data.store import TokenWriter
from ftune.data.templating import load_template
from ftune.types import Example, Message, Tokens

WORDS = {kind: tokenizer(kind) for kind in ("bytes", "pieces")}


def example(words: object, question: str, answer: str) -> Tokens:
    turns = (Message("user", question), Message("assistant", answer))
    found = tokens(Example(turns), load_template("zephyr", words), Rules(4096))
    assert isinstance(found, Tokens)
    return found


@settings(max_examples=60)
@given(st.sampled_from(sorted(WORDS)), st.text("ab é你🙂|`\n </s>", max_size=12))
def test_pieces_are_the_text(kind: str, text: str) -> None:
    words = WORDS[kind]
    made = example(words, text, "naïve " + text)
    found = previewed("x", made, words)
    assert "".join(found.pieces) == words.decode(made.ids, clean_up_tokenization_spaces=False)
    assert len(found.pieces) == len(made.ids)
    assert "".join(text for text, _ in found.runs) == "".join(found.pieces)


def test_the_page(tmp_path: Path) -> None:
    words = WORDS["bytes"]
    with TokenWriter(tmp_path / "x.arrow") as writer:
        writer.add(example(words, "a | b ``` c?", "It is four."), 1, 7)
    write_preview(tmp_path / "preview.md", tmp_path / "x.arrow", words)
    page = (tmp_path / "preview.md").read_text("utf-8")
    assert "## Source 2, row 7" in page
    assert "«It is four.</s>»" in page
    assert page.count("«") == 2  # one in the words above
    table = [line for line in page.splitlines() if line.startswith("| ") and "`" in line]
    assert len(table) == len(example(words, "a | b ``` c?", "It is four.").ids)
    assert all(line.replace("\\|", "").count("|") == 5 for line in table)
    assert sum("**yes**" in line for line in table) == page.count("**yes**") > 3


def test_colours_tell_what_is_trained() -> None:
    from rich.console import Console

    words = WORDS["bytes"]
    one = previewed("Row 1", example(words, "[red]q[/red]", "four"), words)
    out = io.StringIO()
    Console(file=out, force_terminal=True, color_system="standard", width=60).print(
        rich_page([one])
    )
    shown = out.getvalue()
    assert "\x1b[1;32mfour</s>" in shown  # bold green
    assert "[red]q[/red]" in shown  # words are no markup
