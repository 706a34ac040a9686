"""The likelihood of answers: an encoder-decoder's references, and choices that are ranked."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import small_tasks
import torch
from small_runs import load, make_home, make_model, one_thread, run_here
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from ftune.errors import DataError, RecipeError
from ftune.evaluate.choosing import Asked, token_losses
from ftune.evaluate.metrics import rank_accuracy
from ftune.model.tuning import p_tuning, prefix_tuning, prompt_tuning
from ftune.run.directory import RunDirectory
from ftune.types import Prediction, Ranked

ROWS = (
    Asked((40, 41, 42, 43, 44), ((50,), (51, 52, 53), (54, 55))),
    Asked((60,), ((61, 62), (63,))),
    Asked((70, 71, 72), ((73, 74, 75, 76),)),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("likelihood")
    make_home(folder)
    small_tasks.make_seq2seq(folder / "seq2seq-model")
    return folder


def alone(model: Any, prompt: Any, answer: Any) -> list[float]:
    """The same by one whole forward pass."""
    with torch.no_grad():
        if model.config.is_encoder_decoder:
            start = [model.config.decoder_start_token_id]
            given = {"decoder_input_ids": torch.tensor([[*start, *answer[:-1]]])}
            logits = model(input_ids=torch.tensor([list(prompt)]), **given).logits[0]
        else:
            logits = model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0]
            logits = logits[-len(answer) - 1 : -1]
    rows = torch.log_softmax(logits.float(), -1)
    return [-float(row[token]) for row, token in zip(rows, answer, strict=True)]


@pytest.mark.parametrize("tuned", ["", "prompt_tuning", "p_tuning", "prefix_tuning"])
@pytest.mark.parametrize("kind", ["decoder", "encoder-decoder"])
def test_a_prompt_is_read_once(home: Path, kind: str, tuned: str) -> None:
    from ftune.model.loading import load_model, load_tokenizer
    from ftune.recipe.schema import Model
    from ftune.types import Task

    name = "model" if kind == "decoder" else "seq2seq-model"
    section = Model(name_or_path=str(home / name), device="cpu")
    task = None if kind == "decoder" else Task("seq2seq_lm")
    there = load_model(section, load_tokenizer(section), **({"task": task} if task else {}))
    model: Any = there.model.eval()
    if tuned:
        method: Any = {"prompt_tuning": prompt_tuning, "p_tuning": p_tuning}.get(
            tuned, prefix_tuning
        )
        config = method.Config(num_virtual_tokens=3)
        model = method.attach(model, config, there.tokenizer).eval()
    passes = []
    module = model.get_base_model() if tuned else model
    inner = module.get_encoder() if kind != "decoder" else module.model
    handle = inner.register_forward_pre_hook(lambda *_: passes.append(1))
    found = token_losses(model, ROWS, 0, batch_size=2)
    handle.remove()
    assert len(passes) == (2 * (1 if kind != "decoder" else 2))
    for row, losses in zip(ROWS, found, strict=True):
        for answer, each in zip(row.answers, losses, strict=True):
            assert each == pytest.approx(alone(model, row.prompt, answer), abs=1e-4)


def test_a_model_without_such_a_cache() -> None:
    from transformers import MambaConfig, MambaForCausalLM

    torch.manual_seed(0)
    config = MambaConfig(vocab_size=100, hidden_size=16, num_hidden_layers=1, state_size=4)
    model = MambaForCausalLM(config).eval()
    found = token_losses(model, ROWS, 0, batch_size=3)
    for row, losses in zip(ROWS, found, strict=True):
        for answer, each in zip(row.answers, losses, strict=True):
            assert each == pytest.approx(alone(model, row.prompt, answer), abs=1e-4)


def figures(run: RunDirectory) -> dict[str, Any]:
    told = json.loads((run.stage("evaluate") / "report.json").read_text("utf-8"))
    return {metric["name"]: metric for metric in told["figures"]["metrics"]}


CHOICES = "[it is red, it is green]"


@pytest.fixture(scope="module")
def written(home: Path) -> RunDirectory:
    metrics = f"[token_loss, perplexity, {{rank_accuracy: {{choices: {CHOICES}}}}}]"
    path = small_tasks.write(home, "seq2seq")
    loaded = load(
        path,
        f"evaluate.metrics={metrics}",
        "data.eval=[]",
        "evaluate.batch_size=3",
        "train.num_train_epochs=20",
    )
    with one_thread():
        return run_here(loaded, home / "runs")


def test_an_encoder_decoder_against_transformers(home: Path, written: RunDirectory) -> None:
    found = figures(written)
    model = AutoModelForSeq2SeqLM.from_pretrained(home / "seq2seq-model").eval()
    tokenizer = AutoTokenizer.from_pretrained(home / "seq2seq-model")
    lines = (home / "seq2seq.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    total = count = hits = size = 0.0
    for row in rows:
        ids = tokenizer(row["prompt"], return_tensors="pt").input_ids
        labels = tokenizer(row["completion"], return_tensors="pt").input_ids
        with torch.no_grad():
            loss = float(model(input_ids=ids, labels=labels).loss)
        total, count = total + loss * labels.shape[1], count + labels.shape[1]
        size += len(row["completion"].encode())
        texts = ["it is red", "it is green"]
        sums = [sum(alone(model, ids[0], tokenizer(t).input_ids[:-1])) for t in texts]
        hits += row["completion"] == texts[sums.index(min(sums))]
    assert found["token_loss"]["base"] == pytest.approx(total / count, rel=1e-5)
    assert found["perplexity"]["base"] == pytest.approx(math.exp(total / count), rel=1e-4)
    assert found["bits_per_byte"]["base"] == pytest.approx(total / math.log(2) / size, rel=1e-5)
    assert found["rank_accuracy"]["base"] == pytest.approx(100 * hits / len(rows))
    assert found["token_loss"]["tuned"] < found["token_loss"]["base"]
    assert found["rank_accuracy"]["tuned"] > found["rank_accuracy"]["base"]
    page = (written.stage("evaluate") / "predictions.jsonl").read_text("utf-8").splitlines()
    first = json.loads(page[0])
    likeliest = min(first["ranked"], key=lambda one: one["loss"])
    assert first["prediction"] == likeliest["text"]  # nothing was generated
    assert [one["text"] for one in first["ranked"]] == ["it is red", "it is green"]
    assert first["ranked"][0]["end_tokens"] == 1


def test_a_decoder_against_a_plain_loop(home: Path) -> None:
    """Through the template, with and without the end mark, by row and by list."""
    choices = ["onions", "a kettle", "two spoons", "paper", "red paint", "bread"]
    listed = f"choices: [{', '.join(choices)}]"
    ended = f"{{rank_accuracy: {{{listed}, end_mark: true, normalize: tokens}}}}"
    found = {}
    for metric in (f"{{rank_accuracy: {{{listed}}}}}", ended):
        loaded = load(home / "recipe.yaml", f"evaluate.metrics=[{metric}]", "train.max_steps=1")
        with one_thread():
            found[metric] = run_here(loaded, home / "runs")
    model = AutoModelForCausalLM.from_pretrained(home / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(home / "model")
    hits: dict[str, float] = dict.fromkeys(found, 0.0)
    rows = [json.loads(line) for line in (home / "test.jsonl").read_text("utf-8").splitlines()]
    for row in rows:
        asked = [{"role": "user", "content": f"{row['instruction']}\n\n{row['input']}"}]
        prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True)
        prompt = list(prompt["input_ids"] if hasattr(prompt, "keys") else prompt)
        plain, mean = [], []
        for text in choices:
            said = {"role": "assistant", "content": text}
            whole = tokenizer.apply_chat_template([*asked, said])
            ids = list(whole["input_ids"] if hasattr(whole, "keys") else whole)[len(prompt) :]
            ids = ids[: ids.index(tokenizer.convert_tokens_to_ids("<|im_end|>")) + 1]
            losses = alone(model, prompt, ids)
            plain.append(sum(losses[:-1]))
            mean.append(sum(losses) / len(losses))
        for metric, sums in zip(found, (plain, mean), strict=True):
            hits[metric] += choices[sums.index(min(sums))] == row["output"]
    for metric, run in found.items():
        told = figures(run)["rank_accuracy"]
        assert told["base"] == pytest.approx(100 * hits[metric] / len(rows))
    assert "norm:tokens|end:yes|choices:6" in told["signature"]


def prediction(**keys: Any) -> Prediction:
    ranked = (Ranked("no", 2.0, 1, 3.0, 1), Ranked("not at all", 2.5, 3, 0.1, 1))
    return Prediction(3, "?", "", ("not at all",), "a.jsonl", **{"ranked": ranked, **keys})


def test_lengths_and_end_marks() -> None:
    row = prediction(choices=("no", "not at all"))
    hit = {
        (n, e): rank_accuracy.score([row], rank_accuracy.Config(normalize=n, end_mark=e))[0].value
        for n in ("none", "characters", "bytes", "tokens")
        for e in (False, True)
    }
    assert hit["none", False] == 0.0
    assert {hit[key] for key in hit if key != ("none", False)} == {100.0}


def test_what_can_not_be_ranked(home: Path) -> None:
    config = rank_accuracy.Config()
    with pytest.raises(DataError, match=r"a\.jsonl:3: rank_accuracy needs the answers"):
        rank_accuracy.score([prediction(choices=(), ranked=())], config)
    with pytest.raises(DataError, match=r"the right answer 'not at all' is none of .*'no'"):
        rank_accuracy.score([prediction(choices=("no",))], config)
    path = small_tasks.write(home, "classification")
    make_model(home / "other")
    with pytest.raises(RecipeError, match="rank_accuracy is of the likelihood of text"):
        load(path, "evaluate.metrics=[rank_accuracy]")
    loaded = load(home / "recipe.yaml", "evaluate.metrics=[rank_accuracy]", "train.max_steps=1")
    with pytest.raises(DataError, match="the row names none; list them"), one_thread():
        run_here(loaded, home / "runs")
