"""What comes after a training: eval, merge, generate and runs, on runs of real models."""

from __future__ import annotations

import json

import peft
import pytest
import torch
import transformers
from commands import command, files, read, scores

pytestmark = pytest.mark.golden
# What ftune eval leaves.
WRITTEN = {
    "predictions.jsonl", "report.json", "report.html", "report.md", "recipe.resolved.yaml",
    "environment.json",
}  # fmt: skip

PROMPT = "name[Blue Spice], eatType[pub], area[riverside]"


def rows_of_tokens(shared, count=16):
    tokenizer = transformers.AutoTokenizer.from_pretrained(shared / "models/TinyStories-656K")
    lines = (shared / "data/e2e/testset_w_refs.csv").read_text(encoding="utf-8").splitlines()
    return [
        tokenizer(line, return_tensors="pt")["input_ids"] for line in lines[1 : 40 * count : 40]
    ]


def largest_difference(one, other, rows):
    with torch.no_grad():
        return max(float((one(x).logits - other(x).logits).abs().max()) for x in rows)


def load(folder, dtype):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()


@pytest.fixture(scope="module")
def merged(trained, home):
    """The LoRA run's merged model, and what the command said of it."""
    run = trained("lora").folder
    before = {f: (run / f).stat().st_mtime_ns for f in trained("lora").files}
    done = command(home, "merge", "runs/lora/001", "--json")
    assert {f: (run / f).stat().st_mtime_ns for f in before if f != "lock"} == {
        f: t for f, t in before.items() if f != "lock"
    }
    return run / "merged", done.json


def test_eval_again_gives_the_figures_of_the_training(trained, warm, home):
    stage = trained("lora").report["stages"]["evaluate"]["figures"]
    told = command(home, "eval", "runs/lora/001", "--json").json
    assert scores(told) == pytest.approx(scores(stage), rel=1e-6)
    assert (told["rows"], told["prompts"], told["on"]) == (200, 26, "test")
    folder = trained("lora").folder / "evaluations/001"
    assert files(folder) == WRITTEN
    assert home / told["output"] == folder
    both = (folder, trained("lora").folder / "evaluate")
    one, other = (
        [json.loads(x)["prediction"] for x in (f / "predictions.jsonl").open(encoding="utf-8")]
        for f in both
    )
    assert one == other
    assert trained("lora").report["state"] == "done"


def test_eval_of_the_base_is_the_column_before(trained, warm, home):
    for name in ("lora", "full"):
        stage = trained(name).report["stages"]["evaluate"]["figures"]
        out = home / f"base-of-{name}"
        run = f"runs/{name}/001"
        told = warm.run(home, "eval", run, "--model", "base", "--output", out, "--json").json
        assert scores(told) == pytest.approx(scores(stage, "base"), rel=1e-6)
        assert files(out) == WRITTEN


def test_eval_on_other_rows_and_by_the_recipe(trained, warm, home, recipe):
    trained("lora")
    told = warm.run(home, "eval", "lora", "--on", "eval", "--json").json
    stage = trained("lora").report["stages"]
    assert told["rows"] == stage["format"]["figures"]["ledger"]["eval"][0]["used"]
    # The loss that training saw on the same rows at its end, now through the saved adapter.
    assert scores(told)["token_loss"] == pytest.approx(
        stage["train"]["figures"]["eval_loss"], rel=1e-5
    )
    by_recipe = warm.run(home, "eval", *recipe("lora"), "--on", "eval", "--json").json
    assert scores(by_recipe) == scores(told)


def test_merged_is_the_adapter_for_plain_transformers(trained, merged, shared):
    folder, told = merged
    adapter = trained("lora").folder / "train/adapter"
    assert (folder / "model.safetensors").is_file()
    assert not list(folder.glob("adapter*"))
    rows = rows_of_tokens(shared)
    base = shared / "models/TinyStories-656K"
    with_adapter = peft.PeftModel.from_pretrained(load(base, torch.float64), adapter).eval()
    plain = load(folder, torch.float64)
    assert type(plain) is transformers.LlamaForCausalLM
    assert largest_difference(with_adapter, plain, rows) < 1e-5
    assert largest_difference(load(base, torch.float64), plain, rows) > 0.1
    assert told["largest"] <= told["bound"]
    assert told["equal_greedy"] == 1.0
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert (
        tokenizer(PROMPT)["input_ids"]
        == (transformers.AutoTokenizer.from_pretrained(base)(PROMPT)["input_ids"])
    )


def test_eval_of_the_merged_model(trained, merged, warm, home):
    folder, _ = merged
    stage = trained("lora").report["stages"]["evaluate"]["figures"]
    told = warm.run(home, "eval", "runs/lora/001", "--model", folder, "--json").json
    assert told["model"] == str(folder)
    found, expected = scores(told), scores(stage)
    for name in ("bleu", "rouge1", "rougeLsum"):
        assert found[name] == pytest.approx(expected[name], abs=1e-9), name
    assert found["token_loss"] == pytest.approx(expected["token_loss"], abs=1e-5)


def test_merging_twice_is_refused(merged, warm, home):
    folder, _ = merged
    before = {f: (folder / f).read_bytes() for f in files(folder)}
    said = warm.run(home, "merge", "lora", code=4).err
    assert "merged" in said
    assert "--output" in said
    assert {f: (folder / f).read_bytes() for f in files(folder)} == before


def test_qlora_merges_into_the_full_base(trained, warm, home, shared):
    adapter = trained("qlora").folder / "train/adapter"
    out = home / "from-qlora"
    warm.run(home, "merge", "qlora/001", "--output", out)
    base = shared / "models/TinyStories-656K"
    with_adapter = peft.PeftModel.from_pretrained(load(base, torch.float64), adapter).eval()
    plain = load(out, torch.float64)
    assert "quantization_config" not in read(out / "config.json")
    rows = rows_of_tokens(shared)
    assert largest_difference(with_adapter, plain, rows) < 1e-5
    assert largest_difference(load(base, torch.float64), plain, rows) > 0.1
    told = warm.run(home, "eval", "qlora", "--model", out, "--json").json
    assert scores(told)["token_loss"] < 6.22 - 1.0


@pytest.mark.parametrize("name", ["prompt-tuning", "full"])
def test_what_has_nothing_to_merge_says_so(trained, warm, home, name):
    run = trained(name).folder
    there = files(run)
    said = warm.run(home, "merge", f"runs/{name}/001", code=4).err
    assert ("soft prompt" if name == "prompt-tuning" else "whole model already") in said
    assert "Traceback" not in said
    assert files(run) == there


def test_generate_one_prompt(trained, home):
    lines = (trained("lora").folder / "evaluate/predictions.jsonl").open(encoding="utf-8")
    known = {p["prompt"]: p for p in map(json.loads, lines)}
    asked = ["generate", "runs/lora/001", "--prompt", PROMPT]
    done = command(home, *asked)
    assert done.out == known[PROMPT]["prediction"] + "\n"


def test_generate_a_file_of_prompts(trained, warm, home):
    trained("lora")
    lines = (trained("lora").folder / "evaluate/predictions.jsonl").open(encoding="utf-8")
    known = [json.loads(line) for line in lines][:8]
    asked, answered = home / "asked.jsonl", home / "answered.jsonl"
    asked.write_text("".join(json.dumps({"prompt": p["prompt"]}) + "\n" for p in known))
    warm.run(home, "generate", "lora", "--input", asked, "--output", answered)
    found = [json.loads(line) for line in answered.open(encoding="utf-8")]
    assert [f["answer"] for f in found] == [p["prediction"] for p in known]
    assert [f["prompt"] for f in found] == [p["prompt"] for p in known]
    assert [f["row"] for f in found] == list(range(1, 9))
    texts = home / "asked.txt"
    texts.write_text("".join(p["prompt"] + "\n" for p in known[:2]))
    out = warm.run(home, "generate", "lora", "--input", texts, "--base").out
    assert [json.loads(x)["answer"] for x in out.splitlines()] == [p["base"] for p in known[:2]]
    one = warm.run(home, "generate", "lora", "--prompt", known[0]["prompt"], "--json").json
    assert (one["answer"], one["finish"]) == (known[0]["prediction"], known[0]["finish"])


@pytest.mark.parametrize("name", ["qlora", "prompt-tuning", "full"])
def test_generate_with_every_method(trained, warm, home, name):
    lines = (trained(name).folder / "evaluate/predictions.jsonl").open(encoding="utf-8")
    first = json.loads(next(lines))
    answered = warm.run(home, "generate", name, "--prompt", first["prompt"], "--json").json
    assert answered["answer"] == first["prediction"]


def test_runs_list_show_compare(trained, warm, home):
    for name in ("lora", "full"):
        trained(name)
    listed = {f"{r['name']}/{r['id']}": r for r in command(home, "runs", "list", "--json").json}
    assert {"lora/001", "full/001"} <= set(listed)
    assert listed["lora/001"]["state"] == "done"
    assert listed["lora/001"]["metrics"] == trained("lora").report["metrics"]
    words = warm.run(home, "runs", "list").out
    assert "lora/001" in words
    shown = warm.run(home, "runs", "show", "lora", "--json").json
    assert shown["metrics"] == trained("lora").report["metrics"]
    assert "bleu rose from" in warm.run(home, "runs", "show", "runs/lora/001").out
    compared = warm.run(home, "runs", "compare", "lora", "full", "--json").json
    keys = {pair["key"] for pair in compared["recipe"]}
    assert {"tune.method", "train.learning_rate", "train.max_steps"} <= keys
    metrics = {pair["key"]: pair for pair in compared["metrics"]}
    for side, name in (("a", "lora"), ("b", "full")):
        bleu = next(m for m in trained(name).report["metrics"] if m["name"] == "bleu")
        assert metrics["bleu"][side] == bleu["tuned"]
    assert "tune.method" in warm.run(home, "runs", "compare", "lora/001", "full/001").out


RECIPE = """\
model: {{name_or_path: {model}}}
data:
  train: [{{path: rows.csv, format: prompt_completion, columns: {{prompt: mr, completion: ref}}}}]
  test: 0.1
  template: plain
tune: {{method: lora}}
train: {{max_steps: 2, learning_rate: 1e-2}}
evaluate: {{metrics: [token_loss]}}
"""


def test_a_run_is_used_from_any_folder_and_after_its_rows_are_gone(warm, shared, tmp_path):
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    (project / "sub").mkdir(parents=True)
    elsewhere.mkdir()
    rows = (shared / "data/e2e/devset.csv").read_text(encoding="utf-8").splitlines()[:60]
    (project / "sub/rows.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    model = (shared / "models/TinyStories-656K").resolve()
    (project / "sub/r.yaml").write_text(RECIPE.format(model=model))
    warm.run(project, "train", "sub/r.yaml")
    run = project / "runs/r/001"
    there = scores(read(run / "evaluate/report.json")["figures"])
    assert scores(warm.run(elsewhere, "eval", run, "--json").json) == pytest.approx(there)
    (project / "sub/rows.csv").unlink()
    warm.run(elsewhere, "generate", run, "--prompt", PROMPT)
    warm.run(elsewhere, "merge", run)
    said = warm.run(elsewhere, "eval", run, code=3).err
    assert f"{project}/sub/rows.csv: there is no such file" in said
    said = warm.run(project, "train", "sub/r.yaml", code=2).err
    assert "there is no file rows.csv" in said
