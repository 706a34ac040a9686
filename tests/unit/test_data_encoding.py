"""Encoding in runs: the tokenizer's own ids, but never a special one from people's words."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))
from chat_families import tokenizer

from ftune.data.encoding import Encoder, Run
from ftune.data.render import tokens
from ftune.data.rules import Rules
from ftune.data.templating import load_template
from ftune.errors import ModelError
from ftune.types import Example, Message, Tokens

REAL = ("TinyStories-656K", "stories260K", "gpt2-tokenizer")
RULES = Rules(max_length=100_000)


@pytest.fixture(params=REAL)
def real(request: pytest.FixtureRequest, shared: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(shared / "models" / request.param)


def test_whole_texts_have_the_tokenizers_own_ids(real: Any, shared: Path) -> None:
    encoder = Encoder(real)
    lines = (shared / "data/tinystories/tinystories.txt").read_text("utf-8").split("\n")[:300]
    lines += ["  two  spaces ", "\n\nbreaks\n", "naïve 你好 🙂", " "]
    found = encoder.encode([Run(line, prefix=True) for line in lines])
    for line, ids in zip(lines, found, strict=True):
        assert list(encoder.opening) + ids == real(line)["input_ids"], line


def test_rendered_texts_have_the_tokenizers_own_ids(real: Any, shared: Path) -> None:
    """Equal to the ids of the whole text, save where a mask boundary cuts a token."""
    import json

    template = load_template("zephyr", real)
    rows = (shared / "data/gsm8k/test.jsonl").read_text("utf-8").splitlines()[:300]
    equal = 0
    for row in map(json.loads, rows):
        turns = (Message("user", row["question"]), Message("assistant", row["answer"]))
        text = "".join(s.text for s in template.segments(turns))
        found = tokens(Example(turns), template, RULES)
        assert isinstance(found, Tokens)
        whole = real(text)["input_ids"]
        assert real.decode(found.ids) == real.decode(whole)
        equal += list(found.ids) == whole
        # The prompt by itself is always encoded just as the tokenizer would: what a model is asked.
        asked = "".join(s.text for s in template.segments(turns[:1], ask=True))
        assert list(found.ids)[: found.prompt_length] == real(asked)["input_ids"]
    # TinyStories-656K has tokens that begin with a line break and go on with a letter.
    assert equal >= (240 if real.eos_token == "<|end_story|>" else 300)


def test_special_tokens_in_words_stay_text(real: Any) -> None:
    encoder = Encoder(real)
    for mark in real.all_special_tokens:
        for text in (mark, f"a {mark} b", mark * 3, f"x{mark}"):
            for prefix in (True, False):
                (ids,) = encoder.encode([Run(text, prefix)])
                allowed = {real.unk_token_id} - {real.eos_token_id, real.bos_token_id}
                assert set(ids) & set(real.all_special_ids) <= allowed


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
@settings(max_examples=150)
@given(data=st.data())
def test_no_text_becomes_a_mark(kind: str, data: Any) -> None:
    words = _cached(kind)
    encoder = Encoder(words, ["<plain>"])
    parts = st.sampled_from(["</s>", "<s>", "<", "/s>", "<plain>", "<|x|>", " ", "\n", "é", "a"])
    text = "".join(data.draw(st.lists(parts | st.text(max_size=3), max_size=8)))
    text = text.encode("utf-8", "ignore").decode()
    for prefix in (True, False):
        (ids,) = encoder.encode([Run(text, prefix)])
        marks = {words.convert_tokens_to_ids(m) for m in ("</s>", "<s>", "<plain>", "<|x|>")}
        assert marks.isdisjoint(ids)
        assert words.decode(ids, clean_up_tokenization_spaces=False).lstrip(" ") == text.lstrip(" ")
        offsets = encoder.offsets(Run(text, prefix))
        assert len(offsets) == len(ids)


_KEPT: dict[str, Any] = {}


def _cached(kind: str) -> Any:
    if kind not in _KEPT:
        _KEPT[kind] = tokenizer(kind, ("<|x|>",))
        _KEPT[kind].add_tokens(["<plain>"])
    return _KEPT[kind]


def test_markup_becomes_tokens_and_words_beside_it_do_not() -> None:
    words = _cached("bytes")
    encoder = Encoder(words, ["<plain>"])
    plain, mark = words.convert_tokens_to_ids("<plain>"), words.convert_tokens_to_ids("<|x|>")
    assert encoder.pieces("a<|x|> b<plain><|x|>") == ["a", mark, " b", plain, mark]
    assert encoder.pieces("") == []
    assert encoder.id_of("</s>") == words.eos_token_id
    assert encoder.id_of("nothing") is None


def test_a_vocabulary_that_spells_a_mark_by_itself_is_gone_round() -> None:
    """A unigram vocabulary may have </s> among its pieces, and takes it for these letters."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    pieces += [(c, -5.0) for c in "abc</s> >"]
    backend = Tokenizer(models.Unigram(list(dict(pieces).items()), unk_id=0))
    words = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    assert words.eos_token_id in Tokenizer.from_str(backend.to_str()).encode("a</s>b").ids
    encoder = Encoder(words)
    (ids,) = encoder.encode([Run("a</s>b<s></s>", prefix=True)])
    assert not {1, 2} & set(ids)
    assert words.decode(ids).replace(" ", "") == "a</s>b<s></s>"


def test_a_slow_tokenizer_is_refused() -> None:
    class Slow:
        name_or_path = "old/model"

    with pytest.raises(ModelError, match="old/model is not a fast one"):
        Encoder(Slow())


def test_white_space_that_a_mark_swallows_is_dropped_as_the_tokenizer_does() -> None:
    from tokenizers import AddedToken

    words = tokenizer("bytes", adds_bos=False)
    words.add_tokens([AddedToken("<|eat|>", special=True, rstrip=True, lstrip=True)], True)
    encoder = Encoder(words)
    text = "one  <|eat|>\n two"
    found = [p if isinstance(p, int) else words.encode(p) for p in encoder.pieces(text)]
    flat = [i for p in found for i in (p if isinstance(p, list) else [p])]
    assert flat == words(text)["input_ids"]
