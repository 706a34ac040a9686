"""What ftune proves: rehearsals, the serving contract, merged models, keys that did nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from commands import files, read

from ftune.data.template_file import FOLDER

pytestmark = pytest.mark.golden

FEW = ("data.test[0].max_rows=20", "data.train[0].max_rows=300", "train.max_steps=4")


def test_a_rehearsal_holds_and_leaves_nothing(warm, recipe, tmp_path):
    done = warm.run(tmp_path, "rehearse", *recipe("lora", *FEW), "--json")
    found = done.json
    states = {one["act"]: one["state"] for one in found["acts"]}
    assert found["holds"] and set(states.values()) == {"held"} and len(states) == 9
    details = {one["act"]: one["detail"] for one in found["acts"]}
    assert "bit for bit the same" in details["kill and resume"]
    assert "at most 0.0e+00" in details["save and reload"]
    assert "of greedy tokens are equal" in details["merge"]
    needs = {one["what"]: one for one in found["estimates"]}
    assert set(needs) == {"memory", "disk", "time"}
    assert 1e8 < needs["memory"]["amount"] < needs["memory"]["there"]
    assert not files(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_merged_is_left_out(warm, recipe, tmp_path):
    done = warm.run(tmp_path, "rehearse", *recipe("prompt-tuning", *FEW), "--json")
    [merge] = [one for one in done.json["acts"] if one["act"] == "merge"]
    assert merge["state"] == "left out" and "soft prompt" in merge["detail"]


RECIPE = """
model: {name_or_path: ftune:tiny}
data:
  train: [{path: train.jsonl, format: prompt_completion}]
  test: [{path: test.jsonl, format: prompt_completion}]
tune: {method: lora}
train: {max_steps: 4}
evaluate: {metrics: [bleu]}
"""


def test_a_bad_last_row_is_found_before_the_training(warm, tmp_path):
    """Of the test rows too, which a run would only meet after its training."""
    (tmp_path / "bad.yaml").write_text(RECIPE, encoding="utf-8")
    good = "".join(f'{{"prompt": "say {i}", "completion": "{i}"}}\n' for i in range(40))
    for name, other in (("train", "test"), ("test", "train")):
        (tmp_path / f"{other}.jsonl").write_text(good)
        (tmp_path / f"{name}.jsonl").write_text(good + '{"prompt": "x"}\n')
        if name == "test":
            done = warm.run(tmp_path, "train", "bad.yaml", "--rehearse", code=5)
            assert "the rehearsal did not hold" in done.err
            assert f"{name}.jsonl:41" in done.out
        else:
            done = warm.run(tmp_path, "rehearse", "bad.yaml", "--json", code=5)
            [bad] = [one for one in done.json["acts"] if one["state"] == "failed"]
            assert bad["act"] == "all rows"
            assert f"{name}.jsonl:41" in bad["detail"]
        left = {p.name for p in tmp_path.iterdir()}
        assert left == {"bad.yaml", "train.jsonl", "test.jsonl"}


def test_train_goes_on_after_a_rehearsal_that_held(warm, recipe, tmp_path):
    warm.run(tmp_path, "train", *recipe("lora", *FEW), "--rehearse")
    assert read(tmp_path / "runs/lora/001/run.json")["state"] == "done"
    assert not list(tmp_path.glob(".ftune*"))


@pytest.fixture(scope="module")
def own_template(warm, recipe, tmp_path_factory) -> Path:
    """A run with a template file of the user's own, and its merged model."""
    home = tmp_path_factory.mktemp("own")
    shutil.copy(FOLDER / "alpaca.yaml", home / "own.yaml")
    text = Path(recipe("lora")[0]).read_text(encoding="utf-8")
    (home / "lora.yaml").write_text(text.replace("template: plain", "template: own.yaml"))
    warm.run(home, "train", str(home / "lora.yaml"), *recipe("lora", *FEW)[1:])
    warm.run(home, "merge", "lora")
    return home


def test_the_contract_travels_and_is_kept(warm, own_template):
    run = own_template / "runs/lora/001"
    adapter, merged = run / "train/adapter/prompting.json", run / "merged/prompting.json"
    assert adapter.read_bytes() == merged.read_bytes()
    assert len(read(adapter)["prompts"]) == 3
    assert "adapter/prompting.json" in read(run / "train/done.json")["files"]
    warm.run(own_template, "generate", "lora", "-p", "hi", "-o", "evaluate.generation.seed=1")
    warm.run(own_template, "eval", "lora", "--model", str(run / "merged"))
    report = read(run / "merged/report.json")
    assert report["figures"]["largest"] <= report["figures"]["bound"]
    assert "greedy tokens are equal" in (run / "merged/report.md").read_text()


def test_another_rendering_is_refused(warm, own_template):
    merged = str(own_template / "runs/lora/001/merged")
    asks = (
        ("generate", "lora", "-p", "hi"),
        ("eval", "lora"),
        ("eval", "lora", "--model", merged),
    )
    for ask in asks:
        done = warm.run(own_template, *ask, "-o", "data.system_prompt=Be brief.", code=4)
        assert "data.system_prompt was None and is 'Be brief.'" in done.err
        assert "Traceback" not in done.err
    file = own_template / "own.yaml"
    before = file.read_text(encoding="utf-8")
    try:
        file.write_text(before.replace("Response", "Answer"), encoding="utf-8")
        for ask in asks:
            done = warm.run(own_template, *ask, code=4)
            assert "the template own.yaml was changed since: put it back" in done.err
    finally:
        file.write_text(before, encoding="utf-8")
    warm.run(own_template, "generate", "lora", "-p", "hi", "--base", "-o", "data.system_prompt=x")


def test_merging_a_qlora_run_tells_how_far_its_base_was(warm, trained):
    run = trained("qlora").folder
    out = run.parent / "merged-for-proof"
    done = warm.run(run.parents[2], "merge", str(run), "--output", str(out), "--json")
    gap = done.json["quantized"]
    assert gap["largest"] > 100 * done.json["largest"] > 0
    assert 0 < gap["mean"] < gap["largest"] < gap["scale"]
    assert 0.5 < gap["equal_greedy"] < 1
    assert "the quantized base" in (out / "report.md").read_text()
    plain = trained("lora").folder
    other = run.parent / "merged-plain"
    done = warm.run(run.parents[2], "merge", str(plain), "--output", str(other), "--json")
    assert done.json["quantized"] is None


def test_keys_that_did_nothing_are_named(warm, recipe, tmp_path):
    given = recipe("lora", *FEW, "train.num_train_epochs=3", "evaluate.metrics=[token_loss]")
    done = warm.run(tmp_path, "train", *given)
    run = tmp_path / "runs/lora/001"
    named = {one["key"] for one in read(run / "run.json")["unread"]}
    assert named >= {
        "train.num_train_epochs",
        "train.eval_steps",
        "train.save_steps",
        "train.logging_steps",
        "evaluate.generation.max_new_tokens",
    }
    assert not named & {
        "train.learning_rate",
        "tune.r",
        "data.train.path",
        "data.train.columns.prompt",
    }
    said = "recipe: train.eval_steps had no effect: the training ended at step 4"
    assert said in done.err
    assert said in "\n".join(read(run / "report.json")["warnings"])
    assert "eval\\_steps had no effect" in (run / "report.md").read_text()
