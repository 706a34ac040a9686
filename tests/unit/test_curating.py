"""Splitting, taking repeated rows out, checking and converting: what ``ftune data`` stands on."""

from __future__ import annotations

import json
import random
from array import array
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftune.data.curating import near
from ftune.data.curating.checking import Answers, Overlap
from ftune.data.curating.converting import converted, shapes
from ftune.data.curating.deduplicating import deduplicate
from ftune.data.curating.exact import first_of_equals
from ftune.data.curating.lengths import SHOWN, Lengths
from ftune.data.curating.splitting import split
from ftune.data.curating.survey import Survey
from ftune.data.curating.table import Count, opened, plain
from ftune.data.curating.writing import Writers, write_all
from ftune.data.curating.writing_systems import count
from ftune.errors import DataError
from ftune.registry import FORMATS
from ftune.types import Example, Message, Tokens

WORDS = [f"word{n}" for n in range(400)]


def jsonl(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def read(path: Path) -> list[dict]:
    return [dict(row.value) for row in plain(str(path)).rows("read")]


def pair(asked: str, answered: str) -> Example:
    return Example((Message("user", asked), Message("assistant", answered)))


class TestSplit:
    def cut(self, folder: Path, rows: list[dict], shares: dict[str, float], **options):
        table = plain(jsonl(folder / "rows.jsonl", rows))
        files = {part: folder / f"{part}.jsonl" for part in shares}
        found = split(table, shares, files, **options)
        return found, {part: read(path) for part, path in files.items()}

    def test_shares_are_exact_and_every_row_is_somewhere_once(self, tmp_path):
        rows = [{"n": n} for n in range(1000)]
        found, parts = self.cut(tmp_path, rows, {"train": 0.8, "eval": 0.05, "test": 0.15})
        assert found.rows == {"train": 800, "eval": 50, "test": 150}
        assert sorted(r["n"] for part in parts.values() for r in part) == list(range(1000))

    def test_order_and_path_change_nothing(self, tmp_path):
        rows = [{"n": n} for n in range(200)]
        other = tmp_path / "other"
        other.mkdir()
        _, one = self.cut(tmp_path, rows, {"a": 0.5, "b": 0.5})
        _, two = self.cut(other, rows[::-1], {"a": 0.5, "b": 0.5})
        assert {r["n"] for r in one["a"]} == {r["n"] for r in two["a"]}

    def test_another_seed_gives_another_split(self, tmp_path):
        rows = [{"n": n} for n in range(200)]
        other = tmp_path / "other"
        other.mkdir()
        _, one = self.cut(tmp_path, rows, {"a": 0.5, "b": 0.5})
        _, two = self.cut(other, rows, {"a": 0.5, "b": 0.5}, seed=1)
        assert one["a"] != two["a"]

    def test_equal_rows_stay_together(self, tmp_path):
        rows = [{"n": n % 60} for n in range(600)]
        _, parts = self.cut(tmp_path, rows, {"a": 0.7, "b": 0.3})
        assert not {r["n"] for r in parts["a"]} & {r["n"] for r in parts["b"]}

    def test_groups_stay_together(self, tmp_path):
        rows = [{"n": n, "who": n % 40} for n in range(400)]
        found, parts = self.cut(tmp_path, rows, {"a": 0.75, "b": 0.25}, group="who")
        assert not {r["who"] for r in parts["a"]} & {r["who"] for r in parts["b"]}
        assert found.rows == {"a": 300, "b": 100}

    def test_strata_are_cut_alike(self, tmp_path):
        rows = [{"n": n, "label": "rare" if n % 10 == 0 else "usual"} for n in range(400)]
        found, _ = self.cut(tmp_path, rows, {"a": 0.75, "b": 0.25}, stratify="label")
        assert found.strata == {"rare": {"a": 30, "b": 10}, "usual": {"a": 270, "b": 90}}

    def test_an_empty_part_leaves_nothing_behind(self, tmp_path):
        with pytest.raises(DataError, match="no row would be in b"):
            self.cut(tmp_path, [{"n": 1}] * 10, {"a": 0.9, "b": 0.1})
        assert [p.name for p in tmp_path.iterdir()] == ["rows.jsonl"]

    def test_nothing_is_written_over(self, tmp_path):
        (tmp_path / "a.jsonl").write_text("mine")
        with pytest.raises(DataError, match="is there already"):
            self.cut(tmp_path, [{"n": 1}, {"n": 2}], {"a": 0.5, "b": 0.5})
        assert (tmp_path / "a.jsonl").read_text() == "mine"


@given(st.lists(st.integers(0, 8), max_size=40))
def test_first_of_equals(numbers):
    digests = b"".join(bytes([n]) * 16 for n in numbers)
    assert first_of_equals(digests).tolist() == [numbers.index(n) for n in numbers]


class TestNear:
    @pytest.fixture(scope="class")
    def texts(self) -> list[str]:
        draw = random.Random(3)
        base = [draw.choices(WORDS, k=60) for _ in range(60)]
        near_ones = []
        for words in base[:30]:  # of 58 groups of three, each changed word breaks up to three
            changed = list(words)
            changed[draw.randrange(60)] = "other"
            near_ones.append(changed)
        return [" ".join(words) for words in [*base, *near_ones]]

    def test_finds_what_the_exact_index_finds(self, tmp_path, texts):
        rows = [{"text": text} for text in texts]
        table = opened(jsonl(tmp_path / "r.jsonl", rows))
        groups = [near.groups(text) for text in texts]
        for share in (0.5, 0.8):
            exact = {
                later + 1: first + 1
                for later in range(len(texts))
                for first in range(later)
                if len(groups[later] & groups[first]) / len(groups[later] | groups[first]) >= share
            }
            found = near.repeated(table, share, Count())
            assert set(found.items()) == set(exact.items())
            assert len(found) == 30

    def test_a_chain_has_one_head(self):
        signatures = np.zeros((4, near.NUMBERS), np.uint32)
        signatures[1, :20] = 1
        signatures[2, :40] = 1
        signatures[3] = 9
        leaders = near._joined(signatures, 0.8)
        assert leaders.tolist() == [0, 0, 0, 3]

    def test_a_pair_at_the_share_is_hardly_missed(self):
        for share in (0.1, 0.3, 0.5, 0.8, 0.95):
            bands = near.bands(share)
            missed = (1 - share ** (near.NUMBERS // bands)) ** bands
            assert missed < 0.01 or bands == near.NUMBERS


def test_deduplicate_counts_and_keeps_the_first(tmp_path):
    rows = [{"a": 1, "b": "x"}, {"b": "x", "a": 1}, {"a": 2, "b": "x"}, {"a": 1, "b": "x"}]
    table = plain(jsonl(tmp_path / "r.jsonl", rows))
    found = deduplicate(table, tmp_path / "out.jsonl")
    assert (found.equal, found.kept, found.equal_pairs) == (2, 2, ((2, 1), (4, 1)))
    assert read(tmp_path / "out.jsonl") == [rows[0], rows[2]]
    assert deduplicate(table, None, columns=("b",)).kept == 1
    with pytest.raises(DataError, match="no column 'c'; the columns are: 'a', 'b'"):
        deduplicate(table, None, columns=("c",))


class TestOverlap:
    def test_whole_question_and_words(self):
        long = " ".join(WORDS[:40])
        overlap = Overlap(words=5)
        tests = [
            pair("Q1", "A1"),
            pair("Q2", "other"),
            pair(long, "end"),
            pair("nothing of", "this is there"),
        ]
        for number, example in enumerate(tests, 1):
            overlap.expect("t", number, example)
        for example in (pair("q1 ", "a1"), pair("Q2", "A2"), pair(" ".join(WORDS[:20]), "x")):
            overlap.meet(example)
        found = {one.row: one for one in overlap.found(0.4)}
        assert set(found) == {1, 2, 3}
        assert found[1].equal
        assert found[2].same_question
        assert not found[2].equal
        assert found[3].share == pytest.approx(16 / 37)  # groups of five among 41 words
        assert {o.row for o in overlap.found(0.5)} == {1, 2}

    def test_plain_text_has_no_question_in_common(self):
        overlap = Overlap(words=3)
        overlap.expect("t", 1, Example((Message("text", "one two three four"),)))
        overlap.meet(Example((Message("text", "five six seven eight"),)))
        assert overlap.found(0.1) == []


def test_answers_that_hardly_come_back_are_no_labels():
    answers = Answers()
    for n in range(25):
        answers.add(pair("q", f"answer {n % 20}"))
    assert "labels" not in answers.to_plain()


def test_answers_are_told():
    answers = Answers()
    for example in (pair("a", "yes"), pair("b", "yes"), pair("no", "no"), pair("c", " ")):
        answers.add(example)
    told = answers.to_plain()
    assert told == {
        "examples": 4,
        "empty_answers": 1,
        "answers_equal_to_the_question": 1,
        "different_answers": 2,
        "repeated_answers": 1,
        "labels": {"yes": 2, "no": 1},
    }


@given(st.lists(st.integers(0, 500), min_size=1, max_size=60))
def test_percentiles_are_numpys(numbers):
    lengths = Lengths()
    for number in numbers:
        lengths.add(number)
    told = lengths.to_plain()
    for share in SHOWN:
        wanted = np.percentile(numbers, share, method="inverted_cdf")
        assert told[f"p{share}"] == wanted
    assert told["mean"] == pytest.approx(np.mean(numbers))


def test_writing_systems():
    assert count("Straße, ёж 漢字 カナ 1!") == {"LATIN": 6, "CYRILLIC": 2, "CJK": 2, "KATAKANA": 2}


def test_survey_counts_tokens():
    survey = Survey()
    survey.add(pair("ab", "cde"), Tokens([1, 2, 3], [False, True, True], truncated=2))
    told = survey.to_plain()
    assert told["share_trained"] == pytest.approx(2 / 3)
    assert told["truncated_tokens"] == 2
    assert told["characters"]["assistant"]["total"] == 3


@pytest.mark.parametrize("shape", shapes())
def test_a_shape_is_read_back_as_it_was(shape):
    example = Example((Message("user", "asked"), Message("assistant", "said")), ("also",))
    if shape == "text":
        example = Example((Message("text", "words"),))
    row = converted(example, shape)
    columns = {"references": "references"} if "references" in row else {}
    form = FORMATS.load(shape)
    assert form.example(row, form.Config(**columns)) == example


def test_what_a_shape_has_no_place_for_is_refused():
    system = Example((Message("system", "s"), *pair("a", "b").messages))
    assert converted(system, "alpaca")["system"] == "s"
    with pytest.raises(DataError, match="more than one exchange"):
        converted(system, "prompt_completion")
    with pytest.raises(DataError, match="has roles"):
        converted(system, "text")
    two = Example((Message("user", "a"), Message("user", "b"), Message("assistant", "c")))
    with pytest.raises(DataError, match="alpaca can't say"):
        converted(two, "alpaca")


@pytest.mark.parametrize("name", ["o.jsonl", "o.jsonl.gz", "o.csv", "o.tsv", "o.parquet"])
def test_rows_come_back_from_every_kind_of_file(tmp_path, name):
    odd = '"' if name == "o.tsv" else "\t\n"
    rows = [{"a": f'x{n},{odd}"', "b": "é"} for n in range(5000)]
    assert write_all(tmp_path / name, rows) == 5000
    assert read(tmp_path / name) == rows
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_row_that_a_file_has_no_place_for(tmp_path):
    with pytest.raises(DataError, match="list or an object"):
        write_all(tmp_path / "o.csv", [{"a": [1]}])
    with pytest.raises(DataError, match="tab or a line end"):
        write_all(tmp_path / "o.tsv", [{"a": "x\ty"}])
    with pytest.raises(DataError, match="its columns differ"):
        write_all(tmp_path / "o.csv", [{"a": 1}, {"b": 1}])
    mixed = [{"a": 1}] * 2000 + [{"a": "x"}] * 2000
    with pytest.raises(DataError, match="one type"):
        write_all(tmp_path / "o.parquet", mixed)
    with pytest.raises(DataError, match="must end in"):
        Writers({"": tmp_path / "o.xlsx"})
    assert list(tmp_path.iterdir()) == []


def test_the_first_rows_number_is_kept_for_rows_that_are_left_out():
    from ftune.data.curating.exact import gone

    assert gone(np.array([0, 1, 0]), array("Q", [5, 7, 9])) == {9: 5}
