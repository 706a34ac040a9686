"""``evaluate.suites``: the harness run by itself and through ftune gives the same figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from commands import Warm

pytestmark = pytest.mark.golden
lm_eval = pytest.importorskip("lm_eval", reason="needs lm-evaluation-harness (ftune[suites])")

LIMIT = 12
SST2 = """\
task: own_sst2
dataset_path: csv
dataset_kwargs: {{data_files: {{validation: {data}/sst2/dev.tsv}}, delimiter: "\\t"}}
validation_split: validation
output_type: multiple_choice
doc_to_text: "{{{{sentence}}}}\\nIs this sentence positive or negative?"
doc_to_target: label
doc_to_choice: [negative, positive]
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 1.0}}
"""
MMLU = """\
task: own_mmlu
dataset_path: csv
dataset_kwargs:
  data_files:
    test: {data}/mmlu/test/anatomy_test.csv
    dev: {data}/mmlu/dev/anatomy_dev.csv
test_split: test
fewshot_split: dev
num_fewshot: 1
output_type: multiple_choice
doc_to_text: "{{{{question}}}}\\nA. {{{{choice0}}}}\\nB. {{{{choice1}}}}\\nAnswer:"
doc_to_choice: [A, B, C, D]
doc_to_target: answer
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 2.0}}
"""
BBH = """\
task: own_bbh
dataset_path: json
dataset_kwargs: {{data_files: {data}/bbh/bbh/boolean_expressions.json, field: examples}}
test_split: train
output_type: generate_until
doc_to_text: "Q: {{{{input}}}}\\nA:"
doc_to_target: "{{{{target}}}}"
generation_kwargs: {{until: ["Q:"], do_sample: false, max_gen_toks: 8}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 1.0}}
"""
# The harness's own gsm8k.yaml, but for the data, two shots and short answers.
GSM8K = """\
task: own_gsm8k
dataset_path: json
dataset_kwargs: {{data_files: {{train: {data}/gsm8k/train.jsonl, test: {data}/gsm8k/test.jsonl}}}}
training_split: train
fewshot_split: train
test_split: test
num_fewshot: 2
output_type: generate_until
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["Question:", "</s>"], do_sample: false, max_gen_toks: 12}}
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
    ignore_case: true
    ignore_punctuation: false
    regexes_to_ignore: [",", '\\$', "(?s).*#### ", '\\.$']
filter_list:
  - name: strict-match
    filter:
      - {{function: regex, regex_pattern: '#### (\\-?[0-9\\.\\,]+)'}}
      - {{function: take_first}}
  - name: flexible-extract
    filter:
      - {{function: regex, group_select: -1, regex_pattern: '(-?[$0-9.,]{{2,}})|(-?[0-9]+)'}}
      - {{function: take_first}}
metadata: {{version: 3.0}}
"""
# Tasks as they ship with the harness, on data that is here, and their mean.
GLUE = """\
group: own_glue
task:
  - task: sst2
    dataset_path: csv
    dataset_name: null
    dataset_kwargs: {{data_files: {{validation: {data}/sst2/dev.tsv}}, delimiter: "\\t"}}
    training_split: null
  - task: mrpc
    dataset_path: csv
    dataset_name: null
    dataset_kwargs:
      data_files: {{validation: "{data}/hf-fixtures/tests_samples/MRPC/*.tsv"}}
      delimiter: "\\t"
      quoting: 3
      header: 0
      names: [label, id1, id2, sentence1, sentence2]
    training_split: null
aggregate_metric_list: [{{metric: acc, aggregation: mean, weight_by_size: false}}]
metadata: {{version: 1.0}}
"""
TASKS = {
    "own_sst2": SST2,
    "own_mmlu": MMLU,
    "own_bbh": BBH,
    "own_gsm8k": GSM8K,
    "own_glue": GLUE,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Path:
    folder = tmp_path_factory.mktemp("suites")
    (folder / "tasks").mkdir()
    for name, text in TASKS.items():
        file = folder / "tasks" / f"{name}.yaml"
        file.write_text(text.format(data=shared.resolve() / "data"))
    (folder / "evil").mkdir()
    (folder / "evil/t.yaml").write_text("task: t\ndoc_to_text: !function here.boom\n")
    (folder / "evil/here.py").write_text("open('ran', 'w')\n")
    (folder / "broken").mkdir()
    (folder / "broken/t.yaml").write_text("group: own_glue\ntask: [sst2\n")
    (folder / "r.yaml").write_text(f"""\
name: suites
model: {{name_or_path: {shared.resolve()}/models/TinyStories-656K}}
data:
  train:
    - {{path: {shared.resolve()}/data/e2e/devset.csv, format: prompt_completion,
       columns: {{prompt: mr, completion: ref}}, max_rows: 32}}
  template: plain
tune: {{method: lora, r: 4}}
train: {{max_steps: 4, learning_rate: 1e-2}}
evaluate:
  suites: [{", ".join(TASKS)}]
  harness: {{include_path: tasks, limit: {LIMIT}}}
""")
    return folder


@pytest.fixture(scope="module")
def report(home: Path, warm: Warm) -> dict:
    return warm.run(home, "train", "r.yaml", "--json").json


Asked = tuple[str, str, int]  # task, filter and row


def by_itself(
    home: Path, shared: Path, adapter: Path | None
) -> tuple[dict[str, float], dict[Asked, str]]:
    """Figures, and what was made of the answer to each row."""
    import lm_eval.tasks
    import peft
    import torch
    import transformers
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    place = shared / "models/TinyStories-656K"
    model = transformers.AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)
    if adapter is not None:
        model = peft.PeftModel.from_pretrained(model, str(adapter))
    tokenizer = transformers.AutoTokenizer.from_pretrained(place)
    places = [str(Path(lm_eval.tasks.__file__).parent / "glue"), str(home / "tasks")]
    found = lm_eval.simple_evaluate(
        HFLM(pretrained=model.eval(), tokenizer=tokenizer, batch_size=16, device="cpu"),
        tasks=list(TASKS),
        task_manager=TaskManager(include_path=places, include_defaults=False),
        limit=LIMIT,
        bootstrap_iters=0,
    )
    told = {
        f"{task}/{key.replace(',none', '').replace(',', '/')}": value
        for task, figures in found["results"].items()
        for key, value in figures.items()
        if "," in key and "stderr" not in key
    }
    rows = [(task, row) for task, rows in found["samples"].items() for row in rows]
    answers = {(t, row["filter"], row["doc_id"]): str(row["filtered_resps"]) for t, row in rows}
    return told, answers


def test_figures_are_the_harnesss_own(home, shared, report):
    told = {m["name"]: m for m in report["metrics"]}
    run = home / "runs/suites/001"
    lines = (run / "evaluate/suites.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    for side, adapter in {"tuned": run / "train/adapter", "base": None}.items():
        figures, answers = by_itself(home, shared, adapter)
        for name, value in figures.items():
            assert told[name][side] == pytest.approx(value, abs=1e-12), (side, name)
        written = [row for row in rows if row["model"] == side]
        assert len(written) == len(answers)
        for row in written:
            if row["task"] in ("own_gsm8k", "own_bbh"):  # whose figures may well be nought
                asked = (row["task"], row["filter"], row["row"])
                assert str(row["answers"]) == answers[asked], (side, asked)
    accuracy = told["own_mmlu/acc"]
    assert accuracy["tuned_interval"][0] <= accuracy["tuned"] <= accuracy["tuned_interval"][1]
    assert "shots:1" in accuracy["signature"]
    assert f"rows:{LIMIT}of" in accuracy["signature"]
    assert told["own_sst2/calibration_error"]["higher_is_better"] is False
    for side in ("tuned", "base"):
        parts = [told[f"{name}/acc"][side] for name in ("sst2", "mrpc")]
        assert told["own_glue/acc"][side] == pytest.approx(sum(parts) / 2)
    assert {"own_gsm8k/exact_match/strict-match", "mrpc/f1"} <= set(told)
    assert "shots:2" in told["own_gsm8k/exact_match/flexible-extract"]["signature"]


def test_gsm8k_is_scored_as_the_harness_scores_it():
    import lm_eval.tasks

    own = yaml.safe_load(GSM8K.format(data="."))
    its = Path(lm_eval.tasks.__file__).parent / "gsm8k/gsm8k.yaml"
    for key, value in yaml.safe_load(its.read_text("utf-8")).items():
        if key in ("filter_list", "metric_list", "doc_to_text", "doc_to_target", "output_type"):
            assert own[key] == value, key


def test_every_row_that_was_asked_is_written(home, report):
    lines = (home / "runs/suites/001/evaluate/suites.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    for side in ("tuned", "base"):
        mine = [row for row in rows if row["model"] == side and row["task"] == "own_sst2"]
        assert len(mine) == LIMIT
        told = next(m for m in report["metrics"] if m["name"] == "own_sst2/acc")
        assert sum(row["acc"] for row in mine) / LIMIT == pytest.approx(told[side])


def test_eval_asks_them_again_and_the_screen_is_quiet(home, report, warm):
    done = warm.run(home, "eval", "runs/suites/001", "--json")
    told = {m["name"]: m["tuned"] for m in report["metrics"]}
    assert {m["name"]: m["tuned"] for m in done.json["metrics"]} == pytest.approx(told)
    assert "pretrained" not in done.err
    assert "git" not in done.err


@pytest.mark.parametrize(
    ("override", "code", "words"),
    [
        ("evaluate.suites=[own_sst]", 2, "did you mean"),
        ("evaluate.harness.include_path=nowhere", 2, "nowhere is no folder"),
        ("evaluate.harness.include_path=evil", 2, "names a Python function to run"),
        ("evaluate.harness.include_path=broken", 2, "t.yaml can't be read as a task file"),
        ("evaluate.suites=[]", 2, "has no effect without evaluate.suites"),
        ("evaluate.harness.apply_chat_template=true", 4, "has no chat template"),
    ],
)
def test_what_can_not_be_asked_is_told_before_the_training(home, warm, override, code, words):
    done = warm.run(home, "train", "r.yaml", "-o", "name=other", "-o", override, code=code)
    assert words in done.err
    assert not (home / "runs/other").exists()
    assert not (home / "ran").exists()


def test_data_that_can_not_be_had_is_told_before_the_training(home, warm):
    text = SST2.replace("{data}/sst2/dev.tsv", "no-such.tsv").format()
    (home / "tasks/lost.yaml").write_text(text.replace("own_sst2", "lost"))
    try:
        line = ("-o", "name=other", "-o", "evaluate.suites=[lost]")
        done = warm.run(home, "train", "r.yaml", *line, code=3)
    finally:
        (home / "tasks/lost.yaml").unlink()
    assert "evaluate.suites: lost can't be run" in done.err
    assert not (home / "runs/other").exists()
