"""TER, METEOR, labels, length, repetition and variety, against what we did not write."""

from __future__ import annotations

import random

import nltk
import nltk.tokenize
import pytest
import sacrebleu
from nltk.translate.meteor_score import single_meteor_score
from nltk.util import ngrams as nltk_ngrams
from sklearn.metrics import matthews_corrcoef, precision_recall_fscore_support

from ftune.errors import DataError
from ftune.evaluate.metrics import classification, distinct_n, length, meteor, repetition, ter
from ftune.evaluate.ngrams import ngrams
from ftune.evaluate.resampling import interval
from ftune.types import Prediction


def rows(*pairs: tuple[str, str | tuple[str, ...]]) -> list[Prediction]:
    return [
        Prediction(n, "", text, (given,) if isinstance(given, str) else given, "t", tokens=n)
        for n, (text, given) in enumerate(pairs, 1)
    ]


DOGS = rows(
    ("The dog bit the man.", ("The dog bit the man.", "The dog had bit the man.")),
    ("It wasn't surprising.", "It was not unexpected."),
    ("The man just had bitten him.", ("The man had bitten the dog.", "He had just bitten a dog.")),
)
REFERENCES = [[p.references[k] if k < len(p.references) else None for p in DOGS] for k in (0, 1)]


@pytest.mark.parametrize(
    "options",
    [{}, {"normalized": True}, {"no_punct": True}, {"case_sensitive": True}],
    ids=str,
)
def test_ter_equals_sacrebleu(options: dict[str, bool]) -> None:
    [found] = ter.score(DOGS, ter.Config(**options))
    expected = sacrebleu.corpus_ter([p.text for p in DOGS], REFERENCES, **options)
    assert found.value == pytest.approx(expected.score)
    assert found.value > 0 and not found.higher_is_better
    assert found.signature.startswith("nrefs:var|case:") and "version:2." in found.signature


class Nothing:
    """A WordNet that knows no word."""

    def synsets(self, word: str) -> list[object]:
        return []


def test_meteor_equals_nltk_without_wordnet() -> None:
    [found] = meteor.score(DOGS, meteor.Config())
    words = nltk.tokenize.NLTKWordTokenizer().tokenize
    best = [
        max(single_meteor_score(words(r), words(p.text), wordnet=Nothing()) for r in p.references)
        for p in DOGS
    ]
    assert found.value == pytest.approx(100 * sum(best) / 3)
    assert f"version:{nltk.__version__}" in found.signature
    assert "match:exact+porter|synonyms:no|alpha:0.9|beta:3|gamma:0.5" in found.signature
    [stems] = meteor.score(rows(("walking dogs", "Walked dog")), meteor.Config())
    assert stems.value > 90
    [synonyms] = meteor.score(rows(("big", "large")), meteor.Config())
    assert synonyms.value == 0


def test_meteor_of_the_paper_s_implementation() -> None:
    """The example in nltk's documentation; "ensures" and the rest match without synonyms too."""
    said = ("It is a guide to action which ensures that the military always obeys the commands "
            "of the party")  # fmt: skip
    right = ("It is a guide to action that ensures that the military will forever heed Party "
             "commands")  # fmt: skip
    [found] = meteor.score(rows((said, right)), meteor.Config())
    assert found.value == pytest.approx(69.44, abs=0.005)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("labels", [(), ("entailment", "neutral", "contradiction", "never")])
def test_labels_equal_scikit_learn(average: str, labels: tuple[str, ...]) -> None:
    names = ["entailment", "neutral", "contradiction"]
    draw = random.Random(1)
    truth = [draw.choices(names, (5, 3, 1))[0] for _ in range(200)]
    said = [t if draw.random() < 0.6 else draw.choice([*names, "what?"]) for t in truth]
    pairs = rows(*zip([f"{word} it is" for word in said], truth, strict=True))
    config = classification.Config(average=average, labels=labels)  # type: ignore[arg-type]
    found = {m.name: m for m in classification.score(pairs, config)}
    # One that never occurs does not count, nor does the answer that is no label.
    *expected, _ = precision_recall_fscore_support(
        truth, said, labels=sorted(names), average=average, zero_division=0
    )
    for name, value in zip(("precision", "recall", "f1"), expected, strict=True):
        assert found[name].value == pytest.approx(100 * value)
        assert f"average:{average}" in found[name].signature
    assert found["mcc"].value == pytest.approx(matthews_corrcoef(truth, said))
    assert f"labels:{len(labels) or 3}" in found["mcc"].signature


def test_an_interval_of_rare_labels_is_around_the_figure() -> None:
    pairs = rows(*((f"label {i}" if i % 4 else "label 1", f"label {i}") for i in range(80)))
    f1 = classification.score(pairs, classification.Config())[2]
    ends = interval(f1.rows, 1000)
    assert ends is None or ends[0] < f1.value < ends[1]


def test_labels_at_the_edge() -> None:
    found = {m.name: m.value for m in classification.score(
        rows(("yes", ("no", "yes")), ("?", "no")), classification.Config())}  # fmt: skip
    assert found["precision"] == found["recall"] == found["f1"] == 50  # macro of 100 and 0
    same = {m.name: m.value for m in classification.score(
        rows(("a", "a"), ("a", "a")), classification.Config())}  # fmt: skip
    assert same["f1"] == 100 and same["mcc"] == 0
    with pytest.raises(DataError, match=r"t:1: classification finds no label in the reference"):
        classification.score(rows(("a", " ")), classification.Config())
    many = rows(*((f"answer {i}", f"answer {i}") for i in range(201)))
    with pytest.raises(DataError, match=r"finds 201 labels .* use exact_match"):
        classification.score(many, classification.Config())


def test_runs_of_words_equal_nltk() -> None:
    text = "a b a b a  c\na"
    for order in (1, 2, 3, 7, 8):
        expected = sorted(nltk_ngrams(text.split(), order))
        assert sorted(ngrams(text, order).elements()) == expected
        assert ngrams(text, order).total() == max(0, 8 - order)


def test_variety() -> None:
    pairs = rows(("a b a b", "r"), ("a b c", "r"), ("", "r"))
    found = distinct_n.score(pairs, distinct_n.Config(orders=(1, 2, 5)))
    assert [m.name for m in found] == ["distinct_1", "distinct_2", "distinct_5"]
    assert [m.value for m in found] == pytest.approx([100 * 3 / 7, 100 * 3 / 5, 0])
    assert {m.higher_is_better for m in found} == {None}


def test_repetition_is_the_mean_over_answers() -> None:
    pairs = rows(("a b a b a b", "r"), ("a b c d", "r"), ("a", "r"))
    [found] = repetition.score(pairs, repetition.Config(order=2))
    assert found.value == pytest.approx(100 * (3 / 5) / 3)
    assert found.name == "repetition_2" and "n:2" in found.signature
    [usual] = repetition.score(pairs, repetition.Config())
    assert usual.name == "repetition_4" and usual.value == pytest.approx(100 * (1 / 3) / 3)


def test_length() -> None:
    pairs = rows(("two words", ("four", "elevenchars", "seven c")), ("猫", "猫猫猫"))
    found = {m.name: m for m in length.score(pairs, length.Config())}
    assert [found[f"length_{u}"].value for u in ("words", "characters", "tokens")] == [1.5, 5, 1.5]
    assert found["length_ratio"].value == pytest.approx(10 / (7 + 3))  # of 7 and 11 the shorter
    assert "tokenizer:dependent" in found["length_tokens"].signature
    assert {m.higher_is_better for m in found.values()} == {None}
    assert "length_ratio" not in {m.name for m in length.score(rows(("a", "")), length.Config())}
