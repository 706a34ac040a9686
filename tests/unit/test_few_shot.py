"""Few-shot prompts: against published ones, drawn, masked, and shortened."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))
from chat_families import CHATML, tokenizer

from ftune.data import few_shot
from ftune.data.collect import Taken, examples
from ftune.data.curating.table import question
from ftune.data.ledger import Ledger
from ftune.data.render import prompt, tokens
from ftune.data.rules import Rules
from ftune.data.templating import load_template
from ftune.errors import DataError
from ftune.recipe.base import Chosen
from ftune.recipe.few_shot import FewShot, Pool
from ftune.recipe.source import Source
from ftune.registry import FORMATS
from ftune.types import Example, Prompt, Tokens

ASKING = {"input": "Q: {{q}}\nA:", "target": " {{a}}"}
STEP = "Let's think step by step."
GSM8K = {
    "input": "Q: {{question}}\nA:",
    "target": " {% if target is defined %}{{target}}{% else %}"
    "{{ answer.split('####')[0] | regex_replace('<<.*?>>') | trim | replace('\\n', ' ') }} "
    "The answer is {{ answer.split('####')[1] | trim }}.{% endif %}",
}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def source(path: str, shots: dict[str, Any], format: str = "prompts", **columns: Any) -> Source:
    if "pool" in shots:
        shots = {**shots, "pool": Pool(path=shots["pool"])}
    chosen = Chosen(format, FORMATS.load(format).Config(**columns))
    return Source(path=path, format=chosen, few_shot=FewShot(**shots))


def all_of(
    one: Source, folder: Path, seed: int = 0, may: Callable[[Example], bool] = lambda _: True
) -> list[Taken]:
    ledger = Ledger([one.path])
    taken = examples([one], folder, "error", ledger, seed)
    return list(few_shot.shown(taken, [one], folder, seed, may))


def asked(taken: Taken) -> str:
    return str(taken.example.messages[0].content)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write(tmp_path / "rows.jsonl", [{"q": f"q{i}", "a": f"a{i}"} for i in range(40)])
    write(tmp_path / "pool.jsonl", [{"q": f"p{i}", "a": f"b{i}"} for i in range(9)])
    return tmp_path


def published(path: Path) -> tuple[str, str, list[dict[str, Any]]]:
    """A published prompt: the text, its first sentences, and its demonstrations as rows."""
    text = path.read_text("utf-8").partition("-----\n")[2]
    intro, *blocks = text.split("\n\nQ: ")
    rows = []
    for block in blocks:
        question, _, rationale = block.partition(f"\nA: {STEP}")
        rows.append({"prompt": f"Q: {question}\nA: {STEP}", "completion": rationale})
    return text, intro, rows


def test_bbh_prompts_are_the_published_ones(shared: Path, tmp_path: Path) -> None:
    files = sorted((shared / "data/bbh/cot-prompts").glob("*.txt"))
    assert len(files) == 27
    for path in files:
        text, intro, rows = published(path)
        assert len(rows) == 3 and all(row["completion"] for row in rows)
        task = json.loads((shared / f"data/bbh/bbh/{path.stem}.json").read_text("utf-8"))
        write(tmp_path / "pool.jsonl", rows)
        asks = [f"Q: {one['input']}\nA: {STEP}" for one in task["examples"][:2]]
        write(tmp_path / "rows.jsonl", [{"prompt": ask, "completion": "x"} for ask in asks])
        shots = {"k": 3, "pool": "pool.jsonl", "choose": "fixed", "intro": intro}
        found = all_of(source("rows.jsonl", shots, "prompt_completion"), tmp_path)
        assert [asked(taken) for taken in found] == [f"{text}\n\n{ask}" for ask in asks]


def test_gsm8k_with_8_shots_is_what_lm_eval_asks(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm_eval = pytest.importorskip("lm_eval")
    import yaml
    from lm_eval.api.task import ConfigurableTask

    rows = [json.loads(line) for line in (shared / "data/gsm8k/test.jsonl").open()][:3]
    write(tmp_path / "test.jsonl", rows)
    task = Path(lm_eval.__file__).parent / "tasks/gsm8k/gsm8k-cot.yaml"
    config = yaml.safe_load(task.read_text("utf-8"))
    write(tmp_path / "pool.jsonl", config["fewshot_config"]["samples"])
    config["dataset_kwargs"] = {"data_files": {"test": str(tmp_path / "test.jsonl")}}
    config["dataset_kwargs"]["cache_dir"] = str(tmp_path / "cache")
    config |= {"dataset_path": "json", "dataset_name": None}
    theirs = ConfigurableTask(config=config)
    shots = {"k": 8, "pool": "pool.jsonl", "choose": "fixed"}
    ours = all_of(source("test.jsonl", shots, **GSM8K), tmp_path)
    for doc, taken in zip(theirs.test_docs(), ours, strict=True):
        assert asked(taken) == theirs.fewshot_context(doc, 8)
    last = ours[0].example.messages[1].content
    assert last.endswith("The answer is 18.") and "<<" not in last and "\n" not in last


def test_draws_follow_from_the_row_alone_and_never_show_it(home: Path) -> None:
    one = source("rows.jsonl", {"k": (0, 1, 5)}, **ASKING)
    found = all_of(one, home)
    assert found == all_of(one, home) != all_of(one, home, seed=1)
    assert Counter(taken.example.shots for taken in found).keys() == {0, 1, 5}
    for taken in found:
        *shown, question = asked(taken).split("\n\n")
        assert len(set(shown)) == len(shown) and question not in " ".join(shown)
    drawn = Counter(text for taken in found for text in asked(taken).split("\n\n")[:-1])
    assert len(drawn) > 30  # of 40
    few = source("rows.jsonl", {"k": 5, "pool": "rows.jsonl"}, **ASKING)
    again = [taken for taken in all_of(few, home) if taken.row == 7]
    assert "q6" not in asked(again[0]).rpartition("\n\n")[0]


@pytest.mark.parametrize("choose", ["drawn", "fixed"])
def test_another_answer_to_the_own_question_is_not_shown(tmp_path: Path, choose: str) -> None:
    """Of three rows for each question, as in E2E or CommonGen, none tells another's answer."""
    rows = [{"q": f"question {n // 3}", "a": f"answer {n}"} for n in range(12)]
    write(tmp_path / "rows.jsonl", rows)
    for taken in all_of(source("rows.jsonl", {"k": 6, "choose": choose}, **ASKING), tmp_path):
        *before, own = asked(taken).split("\n\n")
        assert len(before) == 6 and not any(one.startswith(own) for one in before)
    few = {"k": 4, "choose": choose}  # where there is nothing else, it is
    write(tmp_path / "rows.jsonl", [{"q": "Write.", "a": str(n)} for n in range(5)])
    assert len(all_of(source("rows.jsonl", few, **ASKING), tmp_path)) == 5


def test_fixed_ones_are_the_first_of_the_pool(home: Path) -> None:
    one = source("rows.jsonl", {"k": 2, "choose": "fixed", "separator": "\n##\n",
                                "intro": "Answer.", "between": "!"}, **ASKING)  # fmt: skip
    found = all_of(one, home)
    assert asked(found[0]) == "Answer.\n##\nQ: q1\nA:! a1\n##\nQ: q2\nA:! a2\n##\nQ: q0\nA:"
    assert asked(found[9]) == "Answer.\n##\nQ: q0\nA:! a0\n##\nQ: q1\nA:! a1\n##\nQ: q9\nA:"


def test_only_rows_of_the_training_side_are_shown(home: Path) -> None:
    one = source("rows.jsonl", {"k": 3}, **ASKING)
    allowed = all_of(one, home, may=lambda e: e.messages[1].content in {" a1", " a2", " a3", " a4"})
    for taken in allowed:
        for text in asked(taken).split("\n\n")[:-1]:
            assert text in {f"Q: q{i}\nA: a{i}" for i in range(1, 5)}


def test_demonstrations_are_written_by_the_template_of_the_row(home: Path) -> None:
    (home / "own.yaml").write_text(
        "a: {input: 'A {{q}}', target: '{{a}}'}\nb: {input: 'B {{q}}', target: '{{a}}'}\n"
    )
    found = all_of(source("rows.jsonl", {"k": 2}, templates="own.yaml"), home)
    assert {taken.example.template for taken in found} == {"a", "b"}
    for taken in found:
        assert {text[0] for text in asked(taken).split("\n\n")} == {taken.example.template.upper()}


def trained_text(made: Tokens, words: Any) -> str:
    return str(words.decode([i for i, t in zip(made.ids, made.trained, strict=True) if t]))


@pytest.mark.parametrize("as_turns", [False, True])
def test_demonstrations_are_not_trained(home: Path, as_turns: bool) -> None:
    words = tokenizer("bytes", template=CHATML)
    intro = {"intro": "Do it."}
    shots = {"k": 2, "choose": "fixed", "pool": "pool.jsonl", "as_turns": as_turns, **intro}
    one = all_of(source("rows.jsonl", shots, **ASKING), home)[3].example
    for system in (None, "S"):
        for name in ("tokenizer", "chatml"):
            template = load_template(name, words, None if as_turns else system)
            made = tokens(one, template, Rules(4096))
            assert isinstance(made, Tokens)
            assert trained_text(made, words).split("<|im_end|>")[0] == " a3"
            assert words.decode(made.ids).count(" b1") == 1
            every = tokens(one, template, Rules(4096, train_on="all"))
            assert isinstance(every, Tokens) and sum(every.trained) == len(every.ids) - 1
    assert question(one).strip() == ("Do it.\nQ: q3\nA:" if as_turns else "Q: q3\nA:")
    roles = [m.role for m in one.messages]
    turns = ["system", "user", "assistant", "user", "assistant"] if as_turns else []
    assert roles == [*turns, "user", "assistant"] and one.shots == 2


@pytest.mark.parametrize("as_turns", [False, True])
@pytest.mark.parametrize("policy", ["truncate", "truncate_prompt"])
def test_too_long_demonstrations_go_whole_and_first(
    home: Path, as_turns: bool, policy: Any
) -> None:
    words = tokenizer("bytes", template=CHATML)
    template = load_template("chatml", words)

    def example(k: int) -> Example:
        shots = {"k": k, "choose": "fixed", "pool": "pool.jsonl", "as_turns": as_turns}
        found: Example = all_of(source("rows.jsonl", shots, **ASKING), home)[0].example
        return found

    lengths = [len(tokens(example(k), template, Rules(4096)).ids) for k in (0, 1, 2, 3)]  # type: ignore[union-attr]
    rules = Rules(lengths[2], on_too_long=policy)
    made = tokens(example(3), template, rules)
    assert isinstance(made, Tokens) and made.shots_cut == 1
    assert len(made.ids) == lengths[2] and made.truncated == lengths[3] - lengths[2]
    assert " b0" not in words.decode(made.ids) and " b2" in words.decode(made.ids)
    asks = prompt(example(3), template, Rules(made.prompt_length, on_too_long=policy))
    assert isinstance(asks, Prompt) and list(made.ids[: len(asks.ids)]) == list(asks.ids)
    assert " b0" not in asks.text and " b2" in asks.text
    none = tokens(example(3), template, Rules(lengths[0], on_too_long=policy))
    assert isinstance(none, Tokens) and none.shots_cut == 3 and len(none.ids) == lengths[0]
    with pytest.raises(DataError, match="with 3 demonstrations"):
        tokens(example(3), template, Rules(lengths[2]))


@pytest.mark.parametrize(
    ("shots", "format", "said"),
    [
        ({"k": 41}, "prompts", "asks for 41 demonstrations, and its own rows give 40"),
        ({"k": 40}, "prompts", "its own rows give 39 that can be shown"),
        ({"k": 9, "pool": "absent.jsonl"}, "prompts", "there is no such file"),
        ({"k": 9, "pool": "short.jsonl"}, "prompts", r"short.jsonl:2: .*'a' is undefined"),
        ({"k": 1}, "text", "this row has none"),
        ({"k": 1, "pool": "talk.jsonl"}, "messages", "this row of the pool has 4 turns"),
    ],
)
def test_what_a_pool_does_wrong(shots: dict[str, Any], format: str, said: str, home: Path) -> None:
    write(home / "short.jsonl", [{"q": "x", "a": "y"}, {"q": "x"}, *[{"q": "x", "a": "y"}] * 9])
    turns = [{"role": role, "content": "c"} for role in ("user", "assistant")]
    write(home / "talk.jsonl", [{"messages": [*turns, *turns]}])
    write(home / "messages.jsonl", [{"messages": turns}])
    columns = {"prompts": ASKING, "text": {"text": "q"}, "messages": {}}[format]
    path = "messages.jsonl" if format == "messages" else "rows.jsonl"
    with pytest.raises(DataError, match=said):
        all_of(source(path, shots, format, **columns), home)
