"""What the reader says of a recipe: all problems at once, with line, column and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipe_texts import GOOD, load, said

from ftune.recipe.reading import load_recipe

HEAD = GOOD[: GOOD.index("train:\n  learning_rate")]


def test_defaults(tmp_path: Path) -> None:
    recipe = load(HEAD, tmp_path)
    assert recipe.name == "recipe"
    assert recipe.train.objective.name == "sft"
    assert recipe.train.learning_rate == 2e-4
    assert recipe.data.train[0].format.config.output == "output"
    assert recipe.evaluate.metrics == ()


def test_home_is_where_paths_start(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "rows.jsonl").touch()
    file = tmp_path / "recipe.resolved.yaml"
    file.write_text(GOOD.replace("ftune:quickstart/train.jsonl", "rows.jsonl"))
    loaded = load_recipe(file, home=tmp_path / "there" / "mine.yaml")
    assert loaded.path == tmp_path / "there" / "mine.yaml"
    assert loaded.recipe.name == "mine"
    assert loaded.text == file.read_text()


# The end of a recipe -> the line that is said of it (its column, and the words).
TRAIN = {
    "lerning_rate: 1": "3: train.lerning_rate is not a key of train; did you mean learning_rate?",
    'learning_rate: "1e-4"': "18: train.learning_rate must be a number, got text '1e-4'; "
    "write 1e-4 without quotes",
    "learning_rate: ten": "18: train.learning_rate must be a number, got text 'ten'; "
    "write a number",
    "learning_rate: -1": "18: train.learning_rate must be above 0, got the number -1; "
    "write a larger number",
    "learning_rate: true": "18: train.learning_rate must be a number, got true; write a number",
    "learning_rate:": "17: train.learning_rate must be a number, got nothing; "
    "write a value or remove the line",
    "max_steps: 1e3": "14: train.max_steps must be a whole number, got the number 1000.0; "
    "write 1000",
    "max_steps: 1.5": "14: train.max_steps must be a whole number, got the number 1.5; "
    "leave out the fraction",
    "max_steps: 0755": "14: train.max_steps must be a whole number, got text '0755'; "
    "write 755 without quotes",
    "max_steps: 10,000": "14: train.max_steps must be a whole number, got text '10,000'; "
    "write 10000 without quotes",
    "max_steps: [1]": "14: train.max_steps must be a whole number, got a list; "
    "write a whole number",
    "max_grad_norm: .nan": "18: .nan is not a number that a recipe can hold; write a finite one",
    "group_by_length: no": "20: train.group_by_length must be true or false, got text 'no'; "
    "write false without quotes",
    "group_by_length: 1": "20: train.group_by_length must be true or false, got the number 1; "
    "write one of them",
    "optim: adamw": "10: train.optim must be one of adamw_torch, adamw_8bit, paged_adamw_8bit, "
    "paged_adamw_32bit, adafactor, sgd, got text 'adamw'; did you mean adamw_torch?",
    "report_to: wandb": "14: train.report_to must be a list, got text 'wandb'; write [wandb]",
    "report_to: [wandb, tensorbord]": "22: train.report_to[1] must be one of tensorboard, wandb, "
    "mlflow, got text 'tensorbord'; did you mean tensorboard?",
    "warmup_ratio: 1": "17: train.warmup_ratio must be below 1, got the number 1; "
    "write a smaller number",
    "r: 8": "3: train.r is not a key of train; it belongs elsewhere, write tune.r",
    "path: x": "3: train.path is not a key of train; it belongs elsewhere, "
    "write data.train[0].path",
    "objective: stf": "14: train.objective: 'stf' is not an objective; did you mean sft? "
    "there are: classification, multiple_choice, question_answering, regression, seq2seq, sft, ",
    "objective: {sft: {x: 1}}": "21: train.objective.sft.x is not a key of train.objective.sft; "
    "it has no keys, remove this one",
    "objective: 5": "14: train.objective must be a name, got the number 5; write classification | ",
    "objective: {sft: {}, x: {}}": "14: train.objective holds several names; "
    "write one {name: {keys}}",
    "completely_other: 1": "3: train.completely_other is not a key of train; its keys are ",
}


@pytest.mark.parametrize("line", TRAIN)
def test_a_line_of_train(line: str, tmp_path: Path) -> None:
    lines = said(f"{HEAD}train:\n  {line}\n", tmp_path)
    assert len(lines) == 1
    assert lines[0].startswith(f"recipe.yaml:10:{TRAIN[line]}")


CHANGES = {
    ("name_or_path: ftune:tiny", "name_or_path: 2024"): "2:17: model.name_or_path must be text, "
    "got the number 2024; put quotes around it",
    ("name_or_path: ftune:tiny", 'name_or_path: ""'): "2:17: model.name_or_path is empty; "
    "write a text",
    ("name_or_path: ftune:tiny", "dtype: bf16"): [
        "1:1: model.name_or_path is missing; add name_or_path: under model (a hub id, a folder",
        "2:10: model.dtype must be one of auto, float32, bfloat16, float16, got text 'bf16'; "
        "did you mean bfloat16?",
    ],
    ("  name_or_path: ftune:tiny", ""): "1:7: model must be keys, got nothing; indent its keys",
    (
        "  name_or_path: ftune:tiny",
        "  name_or_path:ftune:tiny",
    ): "2:3: model must be keys, got text 'name_or_path:ftune:tiny'; put a space after the ':'",
    ("    - path", "      path"): "5:7: data.train must be a list, got keys; put '- ' before",
    ("      format: alpaca\n", ""): "5:7: data.train[0].format is missing; add format: alpaca | ",
    ("format: alpaca", "format: alpacca"): "6:15: data.train[0].format: 'alpacca' is not a row "
    "format; did you mean alpaca?",
    ("format: alpaca", "format: alpaca\n      columns: {instrution: q}"): "7:17: "
    "data.train[0].columns.instrution is not a key of data.train[0].columns; did you mean instruc",
    ("format: alpaca", "format: alpaca\n      columns: [q]"): "7:16: data.train[0].columns must be "
    "keys, got a list",
    ("format: alpaca", "format: alpaca\n      type: x"): "7:7: data.train[0].type is not a key of "
    "data.train[0]; write data.train[0].format, which is type in axolotl and LLaMA-Factory",
    ("format: alpaca", "format: alpaca\n  eval: 1.5"): "7:9: data.eval must be below 1, got the "
    "number 1.5",
    ("format: alpaca", "format: alpaca\n  eval: rows.jsonl"): "7:9: data.eval must be a list or a "
    "number, got text 'rows.jsonl'; write [{path: ..., format: ...}]",
    ("format: alpaca", "format: alpaca\n  eval: [{path: 1, format: text}]"): "7:17: "
    "data.eval[0].path must be text",
    ("  method: lora", "  r: 8"): "7:1: tune.method is missing; add method: adalora | bitfit",
    ("tune:\n  method: lora", "tune: lora"): "7:7: tune must be keys, got text 'lora'; "
    "write {method: lora}",
    ("tune:\n  method: lora\n", ""): "1:1: tune is missing; add tune: at the left edge",
    ("method: lora", "method: lorra"): "8:11: tune.method: 'lorra' is not a tuning method; "
    "did you mean lora?",
    ("method: lora", "method: lora\n  lora_rank: 8"): "9:3: tune.lora_rank is not a key of tune; "
    "write tune.r, which is lora_rank in LLaMA-Factory and torchtune",
    ("method: lora", "method: lora\n  target_modules: 5"): "9:19: tune.target_modules must be text "
    "or a list, got the number 5",
    ("method: lora", "method: lora\n  target_modules: [q, 5]"): "9:23: tune.target_modules[1] must "
    "be text, got the number 5",
    ("method: lora", "method: lora\n  init_lora_weights: yes"): "9:22: tune.init_lora_weights must "
    "be one of true, gaussian",
    ("method: lora", "method: full\n  r: 8"): "9:3: tune.r is not a key of tune with this method, "
    "but with hra, loha, lokr, lora, miss, qlora, randlora, vera; remove it or change method",
    ("model:", "evaluate: {metrics: rouge}\nmodel:"): "1:21: evaluate.metrics must be a list, got "
    "text 'rouge'; write [rouge]",
    ("model:", "evaluate: {metrics: [rogue]}\ndata2: x\nmodel:"): [
        "1:22: evaluate.metrics[0]: 'rogue' is not a metric; did you mean rouge?",
        "2:1: data2 is not a key of a recipe; did you mean data?",
    ],
    ("model:", "distributed: {mixed_precision: off}\nmodel:"): "1:32: distributed.mixed_precision "
    "must be one of no, bf16, fp16, got text 'off'; write \"no\"",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c[1].strip()[:40])
def test_a_change(change: tuple[str, str], tmp_path: Path) -> None:
    expected = CHANGES[change]
    expected = [expected] if isinstance(expected, str) else expected
    lines = said(GOOD.replace(*change, 1), tmp_path)
    assert len(lines) == len(expected), lines
    for line, start in zip(lines, expected, strict=True):
        assert line.startswith(f"recipe.yaml:{start}")


def test_all_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    text = (
        GOOD.replace("ftune:tiny", "5")
        .replace("alpaca", "alpacca")
        .replace("lora", "lora\n  rr: 1")
    )
    text += "  learning_rate: 2\n  seed: !!str 1\n  packing: 1\n"
    lines = said(text, tmp_path)
    assert [line.split(":")[1] for line in lines] == ["2", "6", "9", "12", "13", "14"]


def test_checks_are_told_with_the_rest_unless_they_lean_on_what_is_wrong(tmp_path: Path) -> None:
    early = "  early_stopping_patience: 2\n"
    lines = said(GOOD + early + "  sead: 1\n", tmp_path)
    assert [line.split(": ")[0] for line in lines] == ["recipe.yaml:11:28", "recipe.yaml:12:3"]
    bad_eval = GOOD.replace("data:", "data:\n  eval: 7")
    lines = said(bad_eval + early, tmp_path)
    assert [line.split(": ")[0] for line in lines] == ["recipe.yaml:4:9"]


def test_the_top_level_is_no_list(tmp_path: Path) -> None:
    assert said("- a\n", tmp_path) == [
        "recipe.yaml:1:1: a recipe must be keys, got a list; begin with `model:`"
    ]


def test_problems_have_no_braces_of_python(tmp_path: Path) -> None:
    lines = said("model: {x: {y: 1}}\ndata: {train: 3}\ntune: 3\ntrain: x\n", tmp_path)
    assert len(lines) == 5
    assert not any("Chosen" in line or "Input should" in line for line in lines)


def test_many_problems_are_cut_short(tmp_path: Path) -> None:
    text = GOOD + "".join(f"  key{i}: 1\n" for i in range(5000))
    lines = said(text, tmp_path)
    assert len(lines) == 101
    assert lines[-1] == "recipe.yaml: and 4,900 problems more; correct these first"


def test_a_file_of_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "rows.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    text = GOOD.replace("ftune:quickstart/train.jsonl", "rows.jsonl")
    lines = said(text, Path("recipes"))
    assert len(lines) == 1
    assert lines[0].endswith("relative paths start at the recipe's folder: write ../rows.jsonl")
