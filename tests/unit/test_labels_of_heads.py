"""Labels that a head says, beside scikit-learn's figures of the same ones; and their order."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftune.data.encodings import classification as encoding
from ftune.data.labels import found
from ftune.evaluate import predictions as file
from ftune.registry import METRICS
from ftune.types import Labelled, Prediction

# Names that differ in case only, that begin alike, or that hold what several are joined by.
NAMES = st.sampled_from(["C", "C++", "c", "not", "not at all", "1", "10", "a, b", "b"])


def rows(
    pairs: list[tuple[tuple[str, ...], tuple[str, ...]]], several: bool = False
) -> list[Prediction]:
    return [
        Prediction(
            n, "", ", ".join(a), (", ".join(b),), "x",
            labels_said=a, labels_right=b, multi_label=several,
        )
        for n, (a, b) in enumerate(pairs, 1)
    ]  # fmt: skip


def figures(name: str, given: list[Prediction], **options: str) -> dict[str, float]:
    module = METRICS.load(name)
    return {one.name: one.value for one in module.score(given, module.Config(**options))}


@pytest.mark.filterwarnings("ignore")
@given(
    pairs=st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=12),
    average=st.sampled_from(["macro", "micro", "weighted"]),
)
def test_one_label_a_row_counts_as_in_scikit_learn(
    pairs: list[tuple[str, str]], average: str
) -> None:
    from sklearn import metrics

    given = rows([((a,), (b,)) for a, b in pairs])
    said, right = [a for a, _ in pairs], [b for _, b in pairs]
    assert figures("accuracy", given) == {
        "accuracy": pytest.approx(100 * metrics.accuracy_score(right, said))
    }
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        right, said, average=average, zero_division=0
    )
    told = {"precision": 100 * precision, "recall": 100 * recall, "f1": 100 * f1}
    told["mcc"] = metrics.matthews_corrcoef(right, said)
    assert figures("classification", given, average=average) == pytest.approx(told)


sets = st.frozensets(NAMES, max_size=3).map(lambda names: tuple(sorted(names)))


@pytest.mark.filterwarnings("ignore")
@given(
    # scikit-learn takes a single label for a yes or no, and counts it otherwise.
    pairs=st.lists(st.tuples(sets, sets), min_size=1, max_size=8).filter(
        lambda drawn: len({name for pair in drawn for names in pair for name in names}) > 1
    ),
    average=st.sampled_from(["macro", "micro", "weighted"]),
)
def test_several_labels_a_row_count_as_in_scikit_learn(
    pairs: list[tuple[tuple[str, ...], tuple[str, ...]]], average: str
) -> None:
    from sklearn import metrics
    from sklearn.preprocessing import MultiLabelBinarizer

    binary = MultiLabelBinarizer().fit([*(a for a, _ in pairs), *(b for _, b in pairs)])
    said, right = binary.transform([a for a, _ in pairs]), binary.transform([b for _, b in pairs])
    given = rows(pairs, several=True)
    assert figures("accuracy", given)["accuracy"] == pytest.approx(
        100 * metrics.accuracy_score(right, said)
    )
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        right, said, average=average, zero_division=0
    )
    told = {"precision": 100 * precision, "recall": 100 * recall, "f1": 100 * f1}
    assert figures("classification", given, average=average) == pytest.approx(told)


def test_no_label_at_all_has_figures() -> None:
    nothing = rows([((), ()), ((), ())], several=True)
    assert figures("accuracy", nothing) == {"accuracy": 100}
    assert figures("classification", nothing) == {"precision": 0, "recall": 0, "f1": 0}


def test_what_is_said_is_no_part_of_the_signature() -> None:
    """The base says other labels than the tuned model, and the two have to be comparable."""
    module = METRICS.load("classification")
    right = [("a",), ("b",)]
    base, tuned = (
        module.score(rows(list(zip(said, right, strict=True))), module.Config())
        for said in ([("c",), ("d",)], right)
    )
    assert [one.signature for one in base] == [one.signature for one in tuned]


def test_the_file_of_predictions_keeps_them() -> None:
    for one in (
        *rows([(("a", "b"), ()), ((), ("a",))], True),
        Prediction(1, "p", "t", ("t",), "x"),
    ):
        assert file._parse(file.line(one), "here") == one
    assert "labels" not in file.line(Prediction(1, "p", "t", ("t",), "x"))


def test_a_label_that_a_row_repeats_is_one() -> None:
    config = SimpleNamespace(multi_label=True)
    example = Labelled(("a text",), ("b", "a", "b"))
    assert encoding.right(example, config) == ("a", "b")
    assert encoding.reference(example, config) == ("a, b",)


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["10", "2", "-1"], ["-1", "2", "10"]),
        (["10.0", "2.0", "1.5"], ["1.5", "2.0", "10.0"]),
        (["10", "2", "a"], ["10", "2", "a"]),
    ],
)
def test_numbers_stand_by_size(names: list[str], ordered: list[str]) -> None:
    assert list(found(names)) == ordered


MARKED = {
    "BIOES": ["O", "B-A", "I-A", "E-A", "S-A", "B-B", "I-B", "E-B", "S-B"],
    "BILOU": ["O", "B-A", "I-A", "L-A", "U-A", "B-B", "I-B", "L-B", "U-B"],
    "bare": ["O", "B", "I"],
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("scheme", MARKED)
@given(data=st.data())
def test_other_schemes_of_tags_count_as_in_seqeval(scheme: str, data: st.DataObject) -> None:
    """BILOU as BIOES, which seqeval's default mode reads and which says the same."""
    seqeval = pytest.importorskip("seqeval.metrics", reason="seqeval is not installed")
    tag = st.sampled_from(MARKED[scheme])
    pairs = data.draw(st.lists(st.tuples(tag, tag), min_size=1, max_size=10))
    said, right = [a for a, _ in pairs], [b for _, b in pairs]
    given = [Prediction(1, "", " ".join(said), (" ".join(right),), "x")]
    for name in ("L-", "U-"):
        mark = {"L-": "E-", "U-": "S-"}[name]
        said, right = ([t.replace(name, mark) for t in one] for one in (said, right))
    told = seqeval.f1_score([right], [said], zero_division=0)
    assert figures("seqeval", given)["entity_f1"] == pytest.approx(100 * told)
