"""Multitask prompt tuning: PEFT's own figures, a prompt for each task, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ftune.errors import DataError, Interrupted, ModelError, RecipeError
from ftune.evaluate.predicting import generate
from ftune.evaluate.references import group_references
from ftune.model import adapters, merging, multitask
from ftune.model.loading import load_model, load_tokenizer
from ftune.model.tuning import multitask_prompt_tuning as method
from ftune.recipe.schema import Generation, Model
from ftune.run.pipeline import fingerprints, run_stages
from ftune.run.progress import Silent
from ftune.run.signals import StopFlag
from ftune.run.stage import Place, Surroundings
from ftune.stages.tasked import asked
from ftune.stages.whole import STAGES
from ftune.types import Prompt

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))

from small_runs import StopAt, json_lines, load, make_home, make_model, one_thread, run_here
from small_tasks import make_encoder, write

TASKS = ("a", "b", "c")
MULTI = (
    "tune={method: multitask_prompt_tuning, tasks: [a, b], num_virtual_tokens: 4}",
    "data.train=[{path: train.jsonl, format: alpaca, task: a},"
    " {path: more.jsonl, format: alpaca, task: b}]",
    "data.eval=[{path: eval.jsonl, format: alpaca, task: b}]",
    "data.test=[{path: test.jsonl, format: alpaca, task: b},"
    " {path: test.jsonl, format: alpaca, task: a}]",
    "train.learning_rate=0.3",
)
SECOND = "tune={method: multitask_prompt_tuning, tasks: [new], num_virtual_tokens: 4, %s}"


@pytest.fixture(autouse=True)
def _alone() -> Any:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("m"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = make_home(tmp_path_factory.mktemp("multi"))
    text = (recipe.parent / "train.jsonl").read_text(encoding="utf-8")
    (recipe.parent / "more.jsonl").write_text(text.replace("Write", "Note"), encoding="utf-8")
    return recipe


@pytest.fixture(scope="module")
def trained(home: Path) -> Any:
    with one_thread():
        return run_here(load(home, *MULTI), home.parent / "straight")


def base(folder: Path) -> Any:
    section = Model(name_or_path=str(folder), device="cpu")
    return load_model(section, load_tokenizer(section))


def made(folder: Path, spread: Any = 1.0, **keys: Any) -> tuple[Any, Any]:
    """A model with a prompt for each task, of which each is far from the others."""
    loaded = base(folder)
    torch.manual_seed(3)
    config = method.Config(**{"tasks": TASKS, "num_virtual_tokens": 4, **keys})
    tuned = method.attach(loaded.model, config, loaded.tokenizer)
    if spread != 1.0:
        for name, parameter in tuned.named_parameters():
            if "prefix_task" in name:
                parameter.data *= spread
    return loaded, tuned.eval()


def losses(model: Any, numbers: Any) -> Any:
    ids = torch.arange(3, 27).view(2, 12)
    with torch.no_grad():
        return model(input_ids=ids, labels=ids, task_ids=numbers, use_cache=False)


def test_it_is_pefts_own(folder: Path) -> None:
    from peft import MultitaskPromptTuningConfig, get_peft_model

    _, ours = made(folder, num_ranks=2)
    torch.manual_seed(3)
    settings = MultitaskPromptTuningConfig(
        num_virtual_tokens=4, num_tasks=3, num_ranks=2, task_type="CAUSAL_LM"
    )
    theirs = get_peft_model(base(folder).model, settings).eval()
    pairs = zip(ours.named_parameters(), theirs.named_parameters(), strict=True)
    for (name, our), (their_name, their) in pairs:
        assert name == their_name and our.requires_grad == their.requires_grad
        assert torch.equal(our, their)
    numbers = multitask.numbers(ours, ("c", "a"))
    assert numbers.tolist() == [2, 0]
    assert torch.equal(losses(ours, numbers).loss, losses(theirs, numbers).loss)


def test_each_task_has_its_own_and_comes_back(folder: Path, tmp_path: Path) -> None:
    loaded, model = made(folder, 50.0)
    found = [losses(model, torch.tensor([n, n])).logits for n in range(3)]
    assert not torch.allclose(found[0], found[1]) and not torch.allclose(found[1], found[2])
    out = tmp_path / "a"
    saved = {"base": loaded.identity, "tokenizer": loaded.tokenizer, "method": "multitask"}
    adapters.save(model, out, **saved)
    for trainable in (False, True):
        again = adapters.load(base(folder), out, trainable=trainable).eval()
        assert multitask.names(again) == TASKS
        for number, wanted in enumerate(found):
            assert torch.equal(losses(again, torch.tensor([number, number])).logits, wanted)
    with pytest.raises(ModelError, match="a soft prompt can't be merged"):
        merging.merge(Model(name_or_path=str(folder), device="cpu"), out, tmp_path / "merged")


def test_prompts_of_several_tasks_in_one_batch(folder: Path) -> None:
    loaded, model = made(folder, 50.0)
    texts = ("Buy bread", "Write it down", "nails")
    ids = [loaded.tokenizer(text).input_ids for text in texts]
    prompts = [
        Prompt(one, text, task=task)
        for one, text, task in zip(ids, texts, ("c", "a", "b"), strict=True)
    ]
    section = Generation(max_new_tokens=6)

    def texts_of(wanted: list[Prompt], size: int) -> list[str]:
        return [p.text for p in generate(model, loaded.tokenizer, wanted, section, batch_size=size)]

    together = texts_of(prompts, 3)
    assert together == texts_of(prompts, 1)
    for prompt, text in zip(prompts, together, strict=True):
        line = torch.tensor([prompt.ids])
        for _ in range(6):
            numbers = multitask.numbers(model, [prompt.task])
            with torch.no_grad():
                said = model(input_ids=line, task_ids=numbers, use_cache=False).logits[0, -1]
            line = torch.cat([line, said.argmax()[None, None]], 1)
        whole = loaded.tokenizer.decode(line[0], skip_special_tokens=True)
        assert whole.endswith(text) and text
    alike = [Prompt(ids[0], "x", task=task) for task in TASKS]
    assert len(set(texts_of(alike, 3))) > 1
    assert len(group_references([*alike, alike[0]]).prompts) == 3
    with pytest.raises(DataError, match="no task 'd'; the model was trained for a, b, c"):
        texts_of([Prompt(ids[0], "x", task="d")], 1)
    with pytest.raises(DataError, match="a prompt is of no task"):
        texts_of([Prompt(ids[0], "x")], 1)
    with model.disable_adapter():
        assert texts_of([Prompt(ids[0], "x")], 1)


@pytest.mark.parametrize("start", ["AVERAGE_SOURCE_TASKS", "EXACT_SOURCE_TASK"])
def test_a_new_task_starts_as_with_peft(folder: Path, tmp_path: Path, start: str) -> None:
    from peft import MultitaskPromptTuningConfig, get_peft_model

    loaded, source = made(folder, 50.0)
    out = tmp_path / "a"
    saved = {"base": loaded.identity, "tokenizer": loaded.tokenizer, "method": "multitask"}
    adapters.save(source, out, **saved)
    named = {"prompt_tuning_init_task": "b"} if start.startswith("EXACT") else {}
    keys = {"prompt_tuning_init": start, "prompt_tuning_init_state_dict_path": str(out), **named}
    _, ours = made(folder, tasks=("new",), **keys)
    settings = MultitaskPromptTuningConfig(
        num_virtual_tokens=4, task_type="CAUSAL_LM", prompt_tuning_init=start,
        prompt_tuning_init_state_dict_path=str(out / multitask.FILE), prompt_tuning_init_task=1,
    )  # fmt: skip
    theirs = dict(get_peft_model(base(folder).model, settings).named_parameters())
    for name, parameter in ours.named_parameters():
        assert torch.equal(parameter, theirs[name]), name
    wrong = {**keys, "num_virtual_tokens": 5}
    with pytest.raises(ModelError, match=r"4 x 32 and 5 x 32 is needed"):
        made(folder, tasks=("new",), **wrong)
    if named:
        with pytest.raises(ModelError, match=r"'x' is no task .* trained for a, b, c"):
            made(folder, tasks=("new",), **{**keys, "prompt_tuning_init_task": "x"})


def test_the_shared_prompt_and_a_text(folder: Path, tmp_path: Path) -> None:
    loaded, source = made(folder, 50.0)
    saved = {"base": loaded.identity, "tokenizer": loaded.tokenizer, "method": "multitask"}
    adapters.save(source, tmp_path / "a", **saved)
    path = str(tmp_path / "a" / multitask.FILE)
    keys = {
        "prompt_tuning_init": "ONLY_SOURCE_SHARED",
        "prompt_tuning_init_state_dict_path": path,
    }
    _, shared = made(folder, tasks=("x", "y"), **keys)
    theirs, ours = (m.prompt_encoder["default"].embedding.weight for m in (source, shared))
    assert torch.equal(theirs, ours)
    words = {"prompt_tuning_init": "TEXT", "prompt_tuning_init_text": "Buy bread"}
    loaded, model = made(folder, **words)
    first = loaded.tokenizer("Buy bread", add_special_tokens=False)["input_ids"][0]
    table = loaded.model.get_input_embeddings().weight
    assert torch.equal(model.prompt_encoder["default"].embedding.weight[0], table[first])
    with pytest.raises(ModelError, match="is no folder of a trained adapter"):
        multitask.read(tmp_path / "nowhere")
    with pytest.raises(ModelError, match=r"tune\.tasks: name the tasks"):
        made(folder, tasks=())


def test_a_run_tells_tasks_apart_and_goes_on_bit_for_bit(home: Path, trained: Any) -> None:
    loaded = load(home, *MULTI)
    run = run_here(loaded, home.parent / "stopped", stages=STAGES[:1])
    prints = fingerprints(STAGES, loaded.recipe, Place(home.parent), set())
    stop = StopFlag()
    around = Surroundings(run, Place(home.parent), StopAt(stop), stop)
    with pytest.raises(Interrupted):
        run_stages(STAGES, loaded.recipe, around, prints, set())
    around = Surroundings(run, Place(home.parent), Silent(), StopFlag())
    run_stages(STAGES, loaded.recipe, around, prints, set())
    assert weights(run) == weights(trained)
    rows = json_lines(trained.stage("evaluate") / "predictions.jsonl")
    assert len(rows) == 6
    for one, other in zip(rows[:3], rows[3:], strict=True):  # the same rows, of b and of a
        assert one["prompt"] == other["prompt"] and one["loss_sum"] != other["loss_sum"]
    swapped = [MULTI[1].replace("task: a", "task: c").replace("task: b", "task: a")]
    swapped[0] = swapped[0].replace("task: c", "task: b")
    other = run_here(load(home, *MULTI[:1], *swapped, *MULTI[2:]), home.parent / "swapped")
    assert weights(other) != weights(trained)


def weights(run: Any) -> bytes:
    found: bytes = (run.stage("train") / "adapter" / multitask.FILE).read_bytes()
    return found


def test_labelled_rows_of_two_tasks(tmp_path: Path) -> None:
    make_encoder(tmp_path / "model")
    recipe = write(tmp_path, "token_classification")
    (tmp_path / "b.jsonl").write_text((tmp_path / f"{recipe.stem}.jsonl").read_text())
    two = f"[{{path: {recipe.stem}.jsonl, format: tagged, task: a}},"
    two += " {path: b.jsonl, format: tagged, task: b}]"
    tune = "tune={method: multitask_prompt_tuning, tasks: [a, b], num_virtual_tokens: 2}"
    data = [f"data.{split}={two}" for split in ("train", "eval", "test")]
    run = run_here(load(recipe, tune, *data, "train.max_steps=2"), tmp_path / "runs")
    assert (run.stage("evaluate") / "predictions.jsonl").is_file()


def test_recipes_that_leave_a_task_open(home: Path) -> None:
    for changed, said in (
        ("data.train.1.task=c", "'c' is none of tune.tasks"),
        ("tune.tasks=[a, b, c]", "no source of data.train is of c"),
        ("tune.tasks=[a, b, b]", "a name is there twice"),
        ("tune.prompt_tuning_init_text=Buy", "goes with prompt_tuning_init: TEXT"),
        ("tune.prompt_tuning_init=EXACT_SOURCE_TASK", "starts one new task, and 2 are named"),
        ("evaluate.retain=[{name: n, path: test.jsonl, format: alpaca}]", "task.* is missing"),
        ("evaluate.suites=[mmlu]", "their rows are of no task"),
        ("data.packing=true", "packed examples would have to share them"),
    ):
        with pytest.raises(RecipeError, match=said):
            load(home, *MULTI, changed)
    with pytest.raises(RecipeError, match="one task alone has nothing to share"):
        load(home, SECOND % "num_ranks: 1", "data.train.0.task=new")
    with pytest.raises(RecipeError, match=r"only tune\.method: multitask_prompt_tuning"):
        load(home, "data.train.0.task=a")


def test_who_is_asked_by_name(folder: Path) -> None:
    _, model = made(folder)
    assert asked(model, "b") == "b" and asked(base(folder).model, None) == ""
    for task, said in ((None, "--task is missing"), ("x", "--task x: there is no such task")):
        with pytest.raises(RecipeError, match=f"{said}; the model was trained for a, b, c"):
            asked(model, task)
    with pytest.raises(RecipeError, match="was not trained by tasks"):
        asked(base(folder).model, "a")
    assert asked(made(folder, tasks=("one",))[1], None) == "one"
