"""Prompt templates: promptsource's files against what T0 published, draws, and what goes wrong."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ftune.data.collect import examples, side
from ftune.data.formats import prompts
from ftune.data.forming import Setting, identity
from ftune.data.ledger import Ledger
from ftune.data.prompt_rows import PromptRows
from ftune.data.prompt_sets import read_set
from ftune.errors import DataError, FtuneError, RecipeError
from ftune.evaluate.metrics import accuracy
from ftune.recipe.base import Chosen
from ftune.recipe.source import Source
from ftune.types import Example, Prediction, Row

END = "<|endoftext|>"
# A task of T0 as it was published: its file, template set and template, and how a row's columns
# stand in the published prompt; ``label`` is the answer's place among the choices.
PUBLISHED: list[tuple[str, str, str, str, tuple[str, ...]]] = [
    ("glue_mrpc_equivalent", "glue/mrpc", "equivalent",
     r'Are the following two sentences "equivalent" or "not equivalent"\?\n'
     r"(?P<sentence1>.*)\n(?P<sentence2>.*)", ("not equivalent", "equivalent")),
    ("glue_qqp_duplicate", "glue/qqp", "duplicate",
     r'I received the questions "(?P<question1>.*)" and "(?P<question2>.*)"\. Are they '
     r"duplicates\?", ("no", "yes")),
    ("rotten_tomatoes_Reviewer_Expressed_Sentiment", "rotten_tomatoes",
     "Reviewer Expressed Sentiment",
     r"(?P<text>.*) What is the sentiment expressed by the reviewer for the movie\?",
     ("negative", "positive")),
    ("ag_news_classify_with_choices", "ag_news", "classify_with_choices",
     r"(?P<text>.*) \nIs this a piece of news regarding world politics, sports, business, or "
     r"science and technology\?",
     ("World politics", "Sports", "Business", "Science and technology")),
    ("samsum_Summarize_this_dialogue_", "samsum", "Summarize this dialogue:",
     r"Summarize this dialogue: (?P<dialogue>.*)", ()),
]  # fmt: skip


def forms(columns: dict[str, Any], folder: Path, seed: int = 0, source: int = 0) -> Any:
    return prompts.opened(prompts.Config(**columns), Setting(folder, seed, source))


def texts(example: Example) -> tuple[str, str]:
    asked, answered = example.messages
    return asked.content, answered.content


@pytest.mark.parametrize(("task", "where", "name", "shape", "choices"), PUBLISHED)
def test_a_promptsource_file_writes_what_t0_published(
    task: str, where: str, name: str, shape: str, choices: tuple[str, ...], shared: Path
) -> None:
    form = forms({"templates": f"{where}/templates.yaml", "only": (name,)},
                 shared / "data/promptsource")  # fmt: skip
    lines = (shared / f"data/t0-tasks/{task}.jsonl").read_text("utf-8").splitlines()
    seen = 0
    for number, line in enumerate(lines, 1):
        told = json.loads(line)
        asked, answered = told["prompt"].strip(), told["completion"].removesuffix(END).strip()
        found = re.fullmatch(shape, asked, re.DOTALL)
        if found is None or not answered:
            continue
        row: dict[str, Any] = dict(found.groupdict())
        row |= {"label": choices.index(answered)} if choices else {"summary": answered}
        made = form.example(Row("x", number, row))
        assert texts(made) == (asked, answered)
        assert made.choices == choices
        seen += 1
    assert seen > 150


def test_every_template_of_promptsource_is_right_jinja(shared: Path) -> None:
    found = []
    for path in sorted((shared / "data/promptsource").rglob("templates.yaml")):
        found += [replace(one, name=f"{path} {one.name}") for one in read_set(path)]
    assert len(found) == 407
    PromptRows(found, "all", "", Setting(Path()))


OWN = """\
asks:
  input: "{{q}}? {{ ['A', 'B', 'C'] | choice }}"
  target: "{{a}}"
  choices: "yes ||| no"
tells:
  input: "Say {{q | upper}}:\\n"
  target: " {{ answer_choices[n] }}"
  choices: "{{a}} ||| other"
  original_task: false
long:
  input: "{% if q == 'long' %}Long{% endif %}"
  target: "{% if q == 'long' %}{{a}}{% endif %}"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "own.yaml").write_text(OWN, encoding="utf-8")
    rows = [{"q": f"q{i}", "a": "a|||b" if i == 3 else f"a{i}", "n": 0} for i in range(300)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "rows.jsonl").write_text(lines, encoding="utf-8")
    return tmp_path


def test_draws_follow_from_seed_source_and_row_alone(home: Path) -> None:
    rows = [Row("x", i, {"q": f"q{i}", "a": "a", "n": 0}) for i in range(1, 121)]
    own = {"templates": "own.yaml"}
    first = [form.example(row) for form in [forms(own, home)] for row in rows]
    form = forms(own, home)
    again = {row.number: form.example(row) for row in reversed(rows)}
    assert first == [again[row.number] for row in rows]
    for other in (forms(own, home, seed=1), forms(own, home, source=1)):
        assert first != [other.example(row) for row in rows]
    drawn = Counter(one.template for one in first)
    assert set(drawn) == {"asks", "tells"} and min(drawn.values()) > 40
    letters = Counter(texts(one)[0][-1] for one in first if one.template == "asks")
    assert set(letters) == {"A", "B", "C"} and min(letters.values()) > 5


def test_a_template_that_writes_nothing_is_passed_over(home: Path) -> None:
    form = forms({"templates": "own.yaml", "only": ("long",)}, home)
    assert texts(form.example(Row("x", 1, {"q": "long", "a": "b"}))) == ("Long", "b")
    with pytest.raises(DataError, match=r"no template of own\.yaml writes anything for this row"):
        form.example(Row("x", 1, {"q": "q", "a": "b"}))


def test_own_templates_keep_blanks_and_bars(home: Path) -> None:
    form = forms({"templates": "own.yaml", "only": ("tells",), "ending": "\n"}, home)
    made = form.example(Row("x", 1, {"q": "a ||| b", "a": "c ||| d", "n": "0"}))
    assert texts(made) == ("Say A ||| B:\n\n", " c ||| d")
    assert made.choices == ("c ||| d", "other")
    inline = {"input": "{{ q | regex_replace('<<.*?>>', '') }}", "target": "{{q}}"}
    assert texts(forms(inline, home).example(Row("x", 1, {"q": "1<<1+1>>+1"})))[0] == "1+1"


def test_the_side_of_a_row_does_not_depend_on_the_template(home: Path) -> None:
    sides = []
    for only in ("asks", "tells"):
        form = forms({"templates": "own.yaml", "only": (only,)}, home)
        rows = [Row("x", i, {"q": f"q{i}", "a": "a", "n": 0}) for i in range(50)]
        sides.append([side(form.example(row), 0, 0.3, 0.3) for row in rows])
    assert sides[0] == sides[1] and len(set(sides[0])) == 3


def source_of(**columns: Any) -> Source:
    chosen = Chosen("prompts", prompts.Config(**columns))
    return Source(path="rows.jsonl", format=chosen)


def test_the_file_of_templates_counts_in_the_identity(home: Path) -> None:
    before = identity(source_of(templates="own.yaml"), home)
    (home / "own.yaml").write_text(OWN.replace("Say", "Tell"), encoding="utf-8")
    assert identity(source_of(templates="own.yaml"), home) != before
    assert identity(source_of(input="a", target="b"), home) == {
        k: v for k, v in before.items() if k != "files"
    }


def test_rows_per_template_are_in_the_ledger(home: Path) -> None:
    from ftune.types import Tokens

    source, ledger = source_of(templates="own.yaml"), Ledger(["rows.jsonl"])
    for one in examples([source], home, "error", ledger):
        ledger[0].use(Tokens([1, 2], [False, True]), one.times, one.example)
    told = ledger[0].to_json()["templates"]
    assert sum(told.values()) == 300 and set(told) == {"asks", "tells"}
    ledger[0].redraw({"used": 1}, {}, [2] + [0] * 299)
    assert sum(ledger[0].templates.values()) == 2


@pytest.mark.parametrize(
    ("columns", "row", "said"),
    [
        ({"input": "{{q}}", "target": "{{b}}"}, {"q": "a"}, "'b' is undefined; the columns are"),
        ({"input": "{{q}}", "target": "{{q.x}}"}, {"q": {}}, "fails on this row.*has no attribute"),
        ({"input": "{{q}}", "target": "{{ 1 / q }}"}, {"q": 0}, "ZeroDivisionError"),
        ({"input": "{{q}}", "target": " "}, {"q": "a"}, "leaves this row without a target"),
        ({"input": " ", "target": "a"}, {"q": "a"}, "leaves this row without an input"),
        ({"input": "a", "target": "{{answer_choices[n]}}", "choices": "x ||| y"}, {"n": -1},
         "fails on this row.*no element -1"),
    ],
)  # fmt: skip
def test_what_a_row_and_a_template_do_wrong(
    columns: dict[str, Any], row: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=said):
        forms(columns, tmp_path).example(Row("x", 1, row))


@pytest.mark.parametrize(
    ("columns", "text", "said"),
    [
        ({}, "", "needs columns.templates"),
        ({"input": "a"}, "", "columns.target"),
        ({"input": "{% for %}", "target": "a"}, "", "a template is wrong: columns: Template"),
        ({"templates": "absent.yaml"}, "", "there is no such file"),
        ({"templates": "t.yaml"}, "- a\n", "prompt templates are a mapping"),
        ({"templates": "t.yaml"}, "a: {input: x}\n", "t.yaml:1:.*a.target is missing"),
        ({"templates": "t.yaml"}, "a: !!python/name:os.system x\n", "tag .* is not allowed"),
        ({"templates": "t.yaml", "only": ("b",)}, "a: {input: x, target: y}\n",
         "no template 'b' in it; there are 'a'"),
        ({"templates": "t.yaml", "original_task_only": True},
         "a: {input: x, target: y, original_task: false}\n", "none of the templates"),
    ],
)  # fmt: skip
def test_what_a_set_does_wrong(
    columns: dict[str, Any], text: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "t.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=said):
        forms(columns, tmp_path)


@pytest.mark.parametrize(
    "body",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ zip.__self__ }}",
        "{{ answer_choices.__class__.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('touch CANARY').read() }}",
        "{% include '/etc/passwd' %}",
        "{{ 'x' * 10 ** 11 }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    ],
)
def test_a_template_that_attacks(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftune.data import prompt_rows

    monkeypatch.chdir(tmp_path)
    form = forms({"input": "a", "target": body, "choices": "x ||| y"}, tmp_path)
    monkeypatch.setattr(prompt_rows, "SECONDS", 0.3)
    with pytest.raises(FtuneError):
        form.example(Row("x", 1, {}))
    assert not list(tmp_path.iterdir())


def test_accuracy_asks_for_the_choices_of_the_row() -> None:
    rows = [
        Prediction(0, "p", "good, I think", ("good",), choices=("good", "bad")),
        Prediction(1, "p", "good", ("not good",), choices=("not good", "fine")),
    ]
    found = {m.name: m.value for m in accuracy.score(rows, accuracy.Config())}
    assert found == {"accuracy": 50.0, "accuracy_no_label": 50.0}
