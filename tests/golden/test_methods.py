"""Each tuning method on real data: it learns, and the run says truly what was done."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from contextlib import nullcontext
from pathlib import Path

import peft
import pyarrow as pa
import pytest
import safetensors.torch
import torch
import transformers
from commands import files, read, scores

from ftune.recipe.reading import load_recipe

pytestmark = pytest.mark.golden

METHODS = ("lora", "qlora", "prompt-tuning", "full")
TENSORS = {f"{name}.safetensors" for name in ("optimizer", "random", "weights")}
CHECKPOINT = TENSORS | {"manifest.json", "state.json"}
BESIDE = {"tokenizer.json", "tokenizer_config.json", "ftune.json", "prompting.json"}
ADAPTER = BESIDE | {"adapter_config.json", "adapter_model.safetensors"}
WHOLE = BESIDE | {"config.json", "generation_config.json", "model.safetensors"}
FORMATTED = {"train.arrow", "eval.arrow", "preview.md", "prompting.json"}
STAGE = {"begin.json", "done.json", "report.json", "report.md"}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def plain_model(shared: Path, **options) -> torch.nn.Module:
    return transformers.AutoModelForCausalLM.from_pretrained(
        shared / "models/TinyStories-656K", **options
    ).eval()


def plain_tokenizer(shared: Path):
    return transformers.AutoTokenizer.from_pretrained(shared / "models/TinyStories-656K")


# How far the loss falls was measured first (2.2, 2.1, 0.9 and 2.7); half of it is asked for.
@pytest.mark.parametrize(
    ("name", "loss", "bleu"),
    [("lora", 1.1, 10), ("qlora", 1.0, 4), ("prompt-tuning", 0.4, None), ("full", 1.3, 10)],
)
def test_it_learns(trained, name, loss, bleu):
    evaluation = trained(name).report["stages"]["evaluate"]["figures"]
    before, after = scores(evaluation, "base"), scores(evaluation)
    assert set(before) == set(after) >= {"bleu", "rouge1", "token_loss", "perplexity"}
    assert after["token_loss"] < before["token_loss"] - loss
    assert after["perplexity"] < before["perplexity"]
    if bleu:
        assert before["bleu"] < 2
        assert after["bleu"] > before["bleu"] + bleu
    curve = trained(name).report["series"]
    assert curve["eval_loss"][-1][1] < curve["eval_loss"][0][1] or len(curve["eval_loss"]) == 1


@pytest.mark.parametrize("name", METHODS)
def test_every_row_and_token_is_counted(trained, shared, name):
    run = trained(name)
    rows = len(rows_of(shared / "data/e2e/devset.csv"))
    stages = run.report["stages"]
    for split, [counts] in stages["format"]["figures"]["ledger"].items():
        assert counts["read"] == rows == 4672
        gone = sum(counts[k] for k in ("bad", "not_drawn", "held_out"))
        assert counts["used"] + gone + sum(counts["dropped"].values()) == rows
        assert counts["used"] == counts["examples"] > 0
        with pa.OSFile(str(run.folder / f"format/{split}.arrow")) as file:
            table = pa.ipc.open_file(file).read_all()
        tokens = sum(map(len, table["input_ids"].to_pylist()))
        assert (len(table), tokens) == (counts["examples"], counts["tokens"])
        assert counts["trained"] + counts["masked"] == counts["tokens"]
        assert sum(map(sum, table["trained"].to_pylist())) == counts["trained"]
    train, [counts] = stages["train"]["figures"], stages["format"]["figures"]["ledger"]["train"]
    if name == "lora":  # one epoch
        assert train["rows"] == counts["used"]
        assert (train["tokens"], train["trained_tokens"]) == (counts["tokens"], counts["trained"])
        assert train["steps"] == -(-counts["used"] // 16)
    else:  # the epoch's smaller step may be among them
        full = 16 * train["steps"]
        assert train["rows"] in (full, full - 16 + counts["used"] % 16)
    test = stages["evaluate"]["figures"]
    prompts = {row["mr"] for row in rows_of(shared / "data/e2e/testset_w_refs.csv")[:200]}
    assert (test["rows"], test["prompts"]) == (200, len(prompts))
    assert test["ledger"]["read"] == test["ledger"]["used"] == 200


@pytest.mark.parametrize("name", METHODS)
def test_trainable_parameters_are_pefts_own_count(trained, shared, name):
    model = plain_model(shared)
    whole = sum(p.numel() for p in model.parameters())
    if name in ("lora", "qlora"):
        config = peft.LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")
        counts = peft.get_peft_model(model, config).get_nb_trainable_parameters()
    elif name == "prompt-tuning":
        config = peft.PromptTuningConfig(num_virtual_tokens=20, task_type="CAUSAL_LM")
        counts = peft.get_peft_model(model, config).get_nb_trainable_parameters()
    else:
        counts = (whole, whole)
    figures = trained(name).report["stages"]["load"]["figures"]
    # PEFT counts the parameters of the prompt encoder and the base as we do.
    assert (figures["trainable"], figures["parameters"]) == counts
    assert figures["trainable_percent"] == pytest.approx(100 * counts[0] / counts[1])
    file = "model" if name == "full" else "adapter_model"
    saved = safetensors.torch.load_file(
        trained(name).folder / f"train/adapter/{file}.safetensors"
    ).values()
    assert sum(t.numel() for t in saved) == counts[0]
    assert figures["quantized_modules"] == (14 if name == "qlora" else 0)


@pytest.mark.parametrize("name", METHODS)
def test_the_files_of_a_run(trained, name):
    run = trained(name)
    expected = {"recipe.yaml", "recipe.resolved.yaml", "environment.json", "run.json", "lock"}
    expected |= {"report.html", "report.json", "report.md", "loss.png"}
    expected |= {f"{s}/{f}" for s in ("format", "load", "train", "evaluate") for f in STAGE}
    expected |= {
        f"format/{f}" for f in ("train.arrow", "eval.arrow", "preview.md", "prompting.json")
    }
    expected |= {"train/metrics.jsonl", "evaluate/predictions.jsonl"}
    expected |= {f"train/adapter/{f}" for f in (WHOLE if name == "full" else ADAPTER)}
    steps = {"lora": (80, 116), "qlora": (40,)}.get(name, (40, 60))
    expected |= {f"train/checkpoints/step-{n:06d}/{f}" for n in steps for f in CHECKPOINT}
    assert run.files == expected
    for stage in ("format", "load", "train", "evaluate"):
        listed = read(run.folder / stage / "done.json")["files"]
        assert listed
        for file, facts in listed.items():
            content = (run.folder / stage / file).read_bytes()
            assert facts["bytes"] == len(content)
            assert facts["sha256"] == hashlib.sha256(content).hexdigest(), file
        there = {f for f in files(run.folder / stage) if not f.startswith("checkpoints/")}
        assert there - set(listed) == {"begin.json", "done.json", "report.md"}
    state = read(run.folder / "run.json")
    assert (state["state"], state["starts"], state["error"]) == ("done", 1, None)
    resolved = load_recipe(run.folder / "recipe.resolved.yaml", home=state["recipe"]).recipe
    assert resolved.name == name
    assert run.done.json["metrics"] == run.report["metrics"]
    json.loads((run.folder / "report.json").read_text(), parse_constant=pytest.fail)  # no NaN


def test_memory_stays_though_each_step_has_shapes_of_its_own(trained):
    lines = (trained("lora").folder / "train/metrics.jsonl").read_text().splitlines()
    seen = [x["memory_bytes"] for x in map(json.loads, lines) if "memory_bytes" in x]
    # From the fifth line to the last one, 90 steps; it was 400 MB once (docs/decisions/042). What
    # the largest step and the evaluation took stays (089), and then it grows no more.
    assert seen[-1] - seen[4] < 100e6
    assert seen[-1] - seen[-6] < 5e6


def test_answers_and_losses_are_those_of_plain_peft(trained, shared):
    """Every prediction, and the summed loss of every prompt whose tokens are beyond doubt."""
    folder = trained("lora").folder
    model = peft.PeftModel.from_pretrained(plain_model(shared), folder / "train/adapter").eval()
    tokenizer = plain_tokenizer(shared)
    references: dict[str, list[str]] = {}
    for row in rows_of(shared / "data/e2e/testset_w_refs.csv")[:200]:
        references.setdefault(row["mr"], []).append(row["ref"])
    lines = (folder / "evaluate/predictions.jsonl").read_text(encoding="utf-8").splitlines()
    predictions = [json.loads(line) for line in lines]
    assert [p["prompt"] for p in predictions] == list(references)
    compared = 0
    for one in predictions:
        assert one["references"] == references[one["prompt"]]
        asked = tokenizer(one["prompt"], return_tensors="pt")
        start = asked["input_ids"].shape[1]
        for which, context in (("prediction", nullcontext()), ("base", model.disable_adapter())):
            with torch.no_grad(), context:
                out = model.generate(**asked, max_new_tokens=40, do_sample=False, pad_token_id=0)
            assert tokenizer.decode(out[0, start:], skip_special_tokens=True) == one[which]
        total = count = 0
        for reference in references[one["prompt"]]:
            ids = [*tokenizer(one["prompt"] + reference)["input_ids"], tokenizer.eos_token_id]
            if ids[:start] != asked["input_ids"][0].tolist():
                break
            with torch.no_grad():
                logs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
            total -= logs[start - 1 : -1].gather(1, torch.tensor(ids[start:])[:, None]).sum().item()
            count += len(ids) - start
        else:
            compared += 1
            assert one["loss_count"] == count
            assert one["loss_sum"] == pytest.approx(total, rel=1e-5)
    assert compared >= 5


def test_solutions_of_gsm8k(trained, shared):
    run = trained("gsm8k-lora")
    stages = run.report["stages"]
    [counts] = stages["format"]["figures"]["ledger"]["train"]
    assert (counts["read"], counts["used"] + sum(counts["dropped"].values())) == (400, 400)
    assert set(counts["dropped"]) == {"too long"}
    before = scores(stages["evaluate"]["figures"], "base")
    after = scores(stages["evaluate"]["figures"])
    assert after["token_loss"] < before["token_loss"] - 1.5
    lines = (run.folder / "evaluate/predictions.jsonl").read_text(encoding="utf-8").splitlines()
    source = (shared / "data/gsm8k/test.jsonl").read_text(encoding="utf-8").splitlines()
    hits = 0
    for line, row in zip(map(json.loads, lines), map(json.loads, source[:16]), strict=True):
        assert line["references"] == [row["answer"]]
        found = re.search("#### (-?[0-9.,]+)", line["prediction"])
        hits += bool(found) and found[1] == row["answer"].rpartition("#### ")[2]
    assert after["exact_match"] == 100 * hits / 16
