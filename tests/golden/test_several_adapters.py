"""Several adapters on one base: asked in turn, and merged into one model."""

from __future__ import annotations

import json

import pytest
from commands import read, scores

pytestmark = pytest.mark.golden
PROMPT = "name[The Vaults], eatType[pub], area[riverside]"


@pytest.fixture(scope="module")
def other(trained, warm, recipe, home):
    """A second run of LoRA on the same base, with a system prompt of its own; its name."""
    trained("lora")
    sets = ("train.max_steps=12", "tune.r=4", "data.system_prompt=Say less.", "data.test=[]")
    few = ("evaluate.metrics=[]", "evaluate.group_references=false", "name=short")
    warm.run(home, "train", *recipe("lora", *sets, *few))
    return "short"


def answers(out):
    return [(a["adapter"], a["answer"]) for a in map(json.loads, out.splitlines())]


def test_each_answers_as_alone(trained, other, warm, home):
    trained("prompt-tuning")
    alone = {
        name: warm.run(home, "generate", name, "-p", PROMPT, "--json").json["answer"]
        for name in ("lora", other, "prompt-tuning")
    }
    assert len(set(alone.values())) == 3
    soft = "runs/prompt-tuning/001/train/adapter"
    asked = ("generate", "lora", "--adapter", other, "--adapter", f"soft={soft}")
    alone["soft"] = alone.pop("prompt-tuning")
    out = warm.run(home, *asked, "-p", PROMPT, "--json").out
    assert answers(out) == [(name, alone[name]) for name in ("lora", other, "soft")]
    words = warm.run(home, *asked, "-p", PROMPT).out
    assert words == "".join(f"[{n}]\n{alone[n]}\n" for n in ("lora", other, "soft"))
    rows = [{"prompt": PROMPT, "adapter": name} for name in ("soft", other, "lora", "soft")]
    del rows[2]["adapter"]  # the first one
    file, found = home / "several.jsonl", home / "several-answered.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    warm.run(home, *asked, "--input", file, "--output", found)
    order = ("soft", other, "lora", "soft")
    assert answers(found.read_text()) == [(name, alone[name]) for name in order]
    file.write_text(json.dumps({"prompt": "a", "adapter": "none"}) + "\n")
    said = warm.run(home, *asked, "--input", file, code=3).err
    assert "several.jsonl:1: there is no adapter 'none'; there are lora, short, soft" in said
    assert (
        "no --adapter is given" in warm.run(home, "generate", "lora", "--input", file, code=2).err
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--adapter", "nowhere"), 2, "neither a recipe file nor a run"),
        (("--adapter", "lora"), 2, "names two adapters"),
        (("--adapter", "short", "--base"), 2, "the base is asked without adapters"),
    ],
)
def test_what_cannot_be_asked(other, warm, home, arguments, code, said):
    err = warm.run(home, "generate", "lora", *arguments, "-p", PROMPT, code=code).err
    assert said in err
    assert "Traceback" not in err


def test_merged_with_the_report_of_it(trained, other, warm, home):
    command = ("merge", "lora", other, "--output")
    told = warm.run(home, *command, "both", "--weights", "0.75,0.25", "--json").json
    assert (told["how"], told["weights"], told["seed"]) == ("sum", [0.75, 0.25], None)
    assert told["largest"] <= told["bound"] and told["equal_greedy"] == 1.0
    assert told["from_sum"] < 1e-12
    assert [t["adapter"] for t in told["tasks"]] == ["runs/lora/001", "runs/short/001"]
    for task in told["tasks"]:
        assert task["combined"] < task["base"] - 1
    assert not (home / "both/prompting.json").exists()  # other system prompts
    assert read(home / "both/report.json")["figures"] == told
    scored = warm.run(home, "eval", "lora", "--model", "both", "--json").json
    assert scores(scored)["token_loss"] < 6.22 - 1.0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "--output"),
        (("--output", "x", "--weights", "1"), 2, "1 weights for 2 runs"),
        (("--output", "x", "--weights", "1,nan"), 2, "no number"),
        (("--output", "x", "--weights", "1;2"), 2, "no list of numbers"),
        (("--output", "x", "--how", "mean"), 2, "none of sum, linear"),
        (("--output", "x", "--how", "ties"), 2, "needs --density"),
        (("--output", "x", "--how", "ties", "--density", "2"), 2, "at most 1"),
        (("--output", "x", "--density", "0.5"), 2, "keeps all numbers"),
        (("--output", "x", "--how", "linear", "--seed", "1"), 2, "draws nothing"),
        (("--output", "x", "--how", "linear"), 4, "need the same rank"),
    ],
)
def test_what_cannot_be_merged(other, warm, home, arguments, code, said):
    err = warm.run(home, "merge", "lora", other, *arguments, code=code).err
    assert said in err
    assert not (home / "x").exists()


def test_options_of_several_with_one_run(trained, warm, home):
    trained("lora")
    said = warm.run(home, "merge", "lora", "--how", "sum", code=2).err
    assert "are for several runs" in said
