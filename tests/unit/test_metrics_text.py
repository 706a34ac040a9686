from __future__ import annotations

import random

import pytest
import sacrebleu
import sacrebleu.metrics
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rouge_score.rouge_scorer import RougeScorer
from sklearn.metrics import accuracy_score

from ftune.errors import DataError
from ftune.evaluate.metrics import accuracy, bleu, chrf, exact_match, rouge
from ftune.evaluate.normalizing import Normalization, normalize
from ftune.types import Prediction


def rows(*pairs: tuple[str, str | tuple[str, ...]]) -> list[Prediction]:
    return [
        Prediction(n, "", text, (references,) if isinstance(references, str) else references, "t")
        for n, (text, references) in enumerate(pairs, 1)
    ]


MATT = rows(
    ("The dog bit the man.", ("The dog bit the man.", "The dog had bit the man.")),
    ("It wasn't surprising.", ("It was not unexpected.",)),
    (
        "The man had just bitten him.",
        ("The man had bitten the dog.", "The man had just bitten a dog."),
    ),
)


def test_bleu_and_chrf_equal_sacrebleu_with_ragged_references() -> None:
    texts = [p.text for p in MATT]
    streams = [[p.references[k] if k < len(p.references) else None for p in MATT] for k in range(2)]
    [found] = bleu.score(MATT, bleu.Config())
    assert found.value == pytest.approx(sacrebleu.corpus_bleu(texts, streams).score)
    assert found.value != pytest.approx(sacrebleu.corpus_bleu(texts, streams[:1]).score)
    assert found.signature.startswith("nrefs:var|case:mixed|eff:no|tok:13a|smooth:exp|version:2")
    for order, name in ((0, "chrf"), (2, "chrf++")):
        [found] = chrf.score(MATT, chrf.Config(word_order=order))  # type: ignore[arg-type]
        assert found.name == name
        expected = sacrebleu.corpus_chrf(texts, streams, word_order=order).score
        assert found.value == pytest.approx(expected)
        assert f"nw:{order}" in found.signature


def test_bleu_options() -> None:
    shouted = rows(("THE DOG BIT THE MAN.", "the dog bit the man."))
    assert bleu.score(shouted, bleu.Config())[0].value < 50
    assert bleu.score(shouted, bleu.Config(lowercase=True))[0].value == pytest.approx(100)
    chinese = rows(("我喜欢吃苹果和梨", "我喜欢吃苹果和香蕉"))
    assert bleu.score(chinese, bleu.Config())[0].value < 10
    [found] = bleu.score(chinese, bleu.Config(tokenize="zh"))
    assert found.value > 50
    assert "tok:zh" in found.signature
    with pytest.raises(ValidationError):
        bleu.Config(tokenize="13b")  # type: ignore[arg-type]
    assert chrf.score(shouted, chrf.Config())[0].value < 30
    assert chrf.score(shouted, chrf.Config(lowercase=True))[0].value == pytest.approx(100)


def test_rouge_takes_the_best_reference_of_each_row_and_kind() -> None:
    config = rouge.Config(use_stemmer=True)
    figures = rouge.score(MATT, config)
    scorer = RougeScorer(list(config.types), use_stemmer=True)
    assert [f.name for f in figures] == ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    for figure in figures:
        best = [
            max(scorer.score(r, p.text)[figure.name].fmeasure for r in p.references) for p in MATT
        ]
        assert figure.value == pytest.approx(100 * sum(best) / 3)
        assert "stemmer:porter" in figure.signature
        assert "version:0.1.2" in figure.signature
    [only] = rouge.score(MATT, rouge.Config(types=("rouge2",)))
    assert only.name == "rouge2"
    assert "stemmer:no" in only.signature
    with pytest.raises(ValidationError):
        rouge.Config(types=())


def test_rouge_refuses_scripts_that_it_does_not_count() -> None:
    with pytest.raises(DataError, match="chrf"):
        rouge.score(rows(("猫", "猫"), ("犬", ("犬", "狗"))), rouge.Config())
    assert rouge.score(rows(("猫", "猫"), ("a", "a")), rouge.Config())[0].value == 50


def test_accuracy_equals_scikit_learn() -> None:
    names = ["entailment", "neutral", "contradiction"]
    draw = random.Random(1)
    truth = [draw.choice(names) for _ in range(200)]
    said = [draw.choice([*names, "none of these"]) for _ in range(200)]
    found, unnamed = accuracy.score(rows(*zip(said, truth, strict=True)), accuracy.Config())
    assert found.value == pytest.approx(100 * accuracy_score(truth, said))
    assert unnamed.value == pytest.approx(100 * said.count("none of these") / 200)
    [exact] = exact_match.score(rows(*zip(said, truth, strict=True)), exact_match.Config())
    assert exact.value == found.value
    # Surplus text changes exact match, and accuracy not at all.
    longer = rows(*((f" {s.upper()}, I think", t) for s, t in zip(said, truth, strict=True)))
    assert accuracy.score(longer, accuracy.Config())[0].value == found.value
    assert exact_match.score(longer, exact_match.Config())[0].value == 0


@pytest.mark.parametrize(
    ("answer", "label", "right"),
    [
        ("not entailed, since", "not entailed", True),
        ("not entailed", "not", False),
        ("not at all", "not", True),
        ("nothing", "not", False),
        ("not_entailed", "not", False),
        ("(A) because", "(A)", True),
        ("A. because", "A", True),
        ("An apple", "A", False),
        ("", "not", False),
        ("I say not", "not", False),
        ("是的", "是", False),
    ],
)
def test_a_label_ends_at_a_word(answer: str, label: str, right: bool) -> None:
    labels = ("not", "not entailed", "(A)", "A", "是")
    found, _ = accuracy.score(rows((answer, label)), accuracy.Config(labels=labels))
    assert found.value == 100 * right
    assert "labels:5" in found.signature


def test_accuracy_with_several_references_and_case() -> None:
    pair = rows(("Yes", ("yes", "sure")), ("Sure", ("yes", "sure")), ("no", "yes"), ("?", "yes"))
    found, unnamed = accuracy.score(pair, accuracy.Config(labels=("no",)))
    assert (found.value, unnamed.value) == (50, 25)
    found, unnamed = accuracy.score(pair, accuracy.Config(ignore_case=False))
    assert (found.value, unnamed.value) == (0, 100)
    assert not unnamed.higher_is_better


GSM = "Janet eats 3. 16 - 3 - 4 = <<16-3-4=9>>9 eggs.\nShe makes 9 * 2 = $18.\n#### {}"


def test_exact_match_of_gsm8k_answers() -> None:
    config = exact_match.Config(pattern=r"#### (-?[0-9.,]+)")
    pairs = rows(
        ("It is 18.\n#### 18", GSM.format("18")),
        ("#### 17 no\n#### 18", GSM.format("18")),
        ("#### 1800", GSM.format("1,800")),
        ("18", GSM.format("18")),
    )
    assert exact_match.score(pairs, config)[0].value == 50
    numeric = exact_match.Config(pattern=config.pattern, numeric=True)
    [found] = exact_match.score(pairs, numeric)
    assert found.value == 75
    assert r"pattern:#### (-?[0-9.,]+)" in found.signature
    with pytest.raises(DataError, match=r"t:1: exact_match's pattern .* finds nothing"):
        exact_match.score(rows(("#### 18", "18")), config)
    with pytest.raises(ValidationError, match="not a regular expression"):
        exact_match.Config(pattern="(")
    whole = exact_match.Config(pattern="[0-9]+ *[a-z]+")
    assert exact_match.score(rows(("so 3 cm", "3 cm")), whole)[0].value == 100


def test_exact_match_options() -> None:
    pairs = rows(("The  cat.\n", ("a dog", "the cat")))

    def value(**options: bool) -> float:
        return exact_match.score(pairs, exact_match.Config(**options))[0].value

    assert value() == value(ignore_case=True) == value(ignore_punctuation=True) == 0
    assert value(ignore_case=True, ignore_punctuation=True) == 100
    assert value(ignore_case=True, ignore_punctuation=True, strip=False) == 0


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("1,000.0", "1000"),
        ("+1000", "1000"),
        ("$5", "5"),
        ("50 %", "50"),
        ("18.", "18"),
        ("-0.50", "-0.5"),
        ("-0", "0"),
        (".5", "0.5"),
        ("007", "7"),
        ("1,2", "1,2"),
        ("1.2.3", "1.2.3"),
        (".", "."),
        ("12 eggs", "12 eggs"),
        ("123456789012345678901234567890.10", "123456789012345678901234567890.1"),
    ],
)
def test_numbers(text: str, plain: str) -> None:
    assert normalize(text, Normalization(numeric=True)) == plain
    assert normalize(text, Normalization()) == text


@given(st.integers(-(10**30), 10**30), st.integers(0, 6))
def test_numbers_are_equal_however_written(number: int, zeros: int) -> None:
    options = Normalization(numeric=True)
    assert normalize(f"{number:,}.{'0' * zeros}", options) == str(number)
    assert normalize(f"${number}", options) == str(number)


@given(st.text(), st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_an_answer_equals_itself(text: str, a: bool, b: bool, c: bool, d: bool) -> None:
    config = exact_match.Config(ignore_case=a, ignore_punctuation=b, strip=c, numeric=d)
    assert exact_match.score(rows((text, text)), config)[0].value == 100
