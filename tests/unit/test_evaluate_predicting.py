from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from ftune.errors import DataError, RecipeError, RunError
from ftune.evaluate.predicting import generate
from ftune.recipe.schema import Generation
from ftune.run.progress import Silent
from ftune.types import Prompt

STARTS = (
    "Once upon a time",
    "Lily",
    "The dog was very big and it",
    "One day, a little girl named Sue went to the park with her mom and her dad. She saw",
    "Tom had a red ball. He",
    "He",
    '"Can I have some more cake?" asked',
)


def load(folder: Path) -> tuple[Any, Any]:
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(
        folder
    )


@pytest.fixture(scope="module", params=["stories260K", "TinyStories-656K"])
def pair(request: pytest.FixtureRequest, shared: Path) -> tuple[Any, Any]:
    return load(shared / "models" / request.param)


@pytest.fixture
def stories(shared: Path) -> tuple[Any, Any]:
    return load(shared / "models/stories260K")


def prompts_of(tokenizer: Any, texts: tuple[str, ...] = STARTS) -> list[Prompt]:
    return [
        Prompt(tokenizer(text).input_ids, text, ("a reference",), "data.jsonl", row)
        for row, text in enumerate(texts, 1)
    ]


def texts(model: Any, tokenizer: Any, batch_size: int, **options: Any) -> list[str]:
    section = Generation(**{"max_new_tokens": 30, **options})
    found = generate(model, tokenizer, prompts_of(tokenizer), section, batch_size=batch_size)
    return [p.text for p in found]


def by_hand(model: Any, tokenizer: Any, text: str, **options: Any) -> str:
    """Transformers alone, one prompt, decoded with its prompt."""
    given = tokenizer(text, return_tensors="pt")
    ids = model.generate(
        input_ids=given.input_ids,
        attention_mask=given.attention_mask,
        **{"max_new_tokens": 30, "do_sample": False, "pad_token_id": 0, **options},
    )[0]
    whole = tokenizer.decode(ids, skip_special_tokens=True)
    return whole[len(tokenizer.decode(given.input_ids[0], skip_special_tokens=True)) :]


def tuned(model: Any, config: Any) -> Any:
    wrapped = get_peft_model(model, config)
    torch.manual_seed(3)
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    return wrapped.eval()


def test_greedy_text_of_llama2c(stories: tuple[Any, Any], shared: Path) -> None:
    model, tokenizer = stories
    expected = (shared / "models/stories260K/expected_greedy_llama2c.txt").read_bytes()
    [start, *_] = prompts_of(tokenizer)
    [found] = generate(model, tokenizer, [start], Generation(max_new_tokens=196))
    assert ("Once upon a time" + found.text).encode() == expected
    assert (found.finish, found.tokens) == ("length", 196)
    assert (found.row, found.source, found.references) == (1, "data.jsonl", ("a reference",))


@pytest.mark.parametrize(
    "options",
    [{}, {"num_beams": 3}, {"repetition_penalty": 1.3}],
    ids=["greedy", "beams", "penalty"],
)
def test_batches_equal_transformers_on_each_prompt_alone(
    pair: tuple[Any, Any], options: dict[str, Any]
) -> None:
    model, tokenizer = pair
    alone = [by_hand(model, tokenizer, text, **options) for text in STARTS]
    assert len(set(alone)) == len(STARTS)
    for batch_size in (1, 3, 16):
        assert texts(model, tokenizer, batch_size, **options) == alone


def test_sampling_does_not_depend_on_the_batch(pair: tuple[Any, Any]) -> None:
    options = {"do_sample": True, "temperature": 1.3, "top_k": 100, "top_p": 0.95}
    one = texts(*pair, 1, seed=5, **options)
    assert one == texts(*pair, 3, seed=5, **options) == texts(*pair, 16, seed=5, **options)
    assert one != texts(*pair, 16, seed=6, **options)
    assert one != texts(*pair, 16)
    assert texts(*pair, 4, do_sample=True, top_k=1) == texts(*pair, 4)


def test_sampled_beams_repeat(pair: tuple[Any, Any]) -> None:
    options = {"do_sample": True, "num_beams": 2, "temperature": 1.5, "max_new_tokens": 12}
    before = torch.get_rng_state()
    one = texts(*pair, 16, seed=5, **options)
    assert one == texts(*pair, 16, seed=5, **options)
    assert one != texts(*pair, 16, seed=6, **options)
    assert torch.equal(before, torch.get_rng_state())


def test_lora(stories: tuple[Any, Any]) -> None:
    model, tokenizer = stories
    plain = texts(model, tokenizer, 4)
    wrapped = tuned(model, LoraConfig(r=4, target_modules="all-linear"))
    alone = [by_hand(wrapped, tokenizer, text) for text in STARTS]
    assert alone != plain
    assert texts(wrapped, tokenizer, 1) == texts(wrapped, tokenizer, 16) == alone
    with wrapped.disable_adapter():
        assert texts(wrapped, tokenizer, 4) == plain


def test_prompt_tuning(stories: tuple[Any, Any]) -> None:
    model, tokenizer = stories
    plain = texts(model, tokenizer, 4)
    wrapped = tuned(model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=6))
    alone = [by_hand(wrapped, tokenizer, text) for text in STARTS]
    assert alone != plain
    assert texts(wrapped, tokenizer, 1) == texts(wrapped, tokenizer, 16) == alone
    drawn = {"do_sample": True, "repetition_penalty": 1.2}
    assert texts(wrapped, tokenizer, 1, **drawn) == texts(wrapped, tokenizer, 16, **drawn)
    beams = {"num_beams": 2}
    assert texts(wrapped, tokenizer, 1, **beams) == texts(wrapped, tokenizer, 16, **beams)
    with wrapped.disable_adapter():
        assert texts(wrapped, tokenizer, 4) == plain


def test_stop_strings_end_and_cut_the_answer(stories: tuple[Any, Any]) -> None:
    model, tokenizer = stories
    prompts = prompts_of(tokenizer)
    section = Generation(max_new_tokens=60, stop=("zebra",))
    whole = list(generate(model, tokenizer, prompts, section))
    cut = list(generate(model, tokenizer, prompts, section, stop=(". ", "park")))
    ended = 0
    for long, short in zip(whole, cut, strict=True):
        first = min((at for s in (". ", "park") if (at := long.text.find(s)) >= 0), default=None)
        assert short.text == (long.text if first is None else long.text[:first])
        assert short.finish == ("length" if first is None else "stop")
        ended += first is not None
        if first is not None:
            assert short.tokens < long.tokens
    assert ended >= 3
    # What the prompt says stops nothing.
    [kept] = generate(model, tokenizer, prompts[3:4], Generation(max_new_tokens=3), ("park",))
    assert kept.finish == "length"


def test_generation_ends_with_the_last_row(stories: tuple[Any, Any]) -> None:
    model, tokenizer = stories
    lengths: list[int] = []
    own = model.generate

    def watched(**given: Any) -> Any:
        out = own(**given)
        lengths.append(out.shape[1] - given["input_ids"].shape[1])
        return out

    model.generate = watched
    section = Generation(max_new_tokens=200)
    list(generate(model, tokenizer, prompts_of(tokenizer), section, stop=(" ",)))
    assert max(lengths) < 20


def test_end_marks(stories: tuple[Any, Any]) -> None:
    model, tokenizer = stories
    [start, *_] = prompts_of(tokenizer)
    section = Generation(max_new_tokens=12)
    [whole] = generate(model, tokenizer, [start], section)
    ids = model.generate(torch.tensor([start.ids]), max_new_tokens=12, pad_token_id=0)[0]
    mark = int(ids[len(start.ids) + 5])
    [ended] = generate(model, tokenizer, [start], section, stop_ids=(mark,))
    place = ids[len(start.ids) :].tolist().index(mark)
    assert (ended.finish, ended.tokens) == ("stop", place)
    assert whole.text.startswith(ended.text)
    assert whole.text != ended.text
    # A model's own end marks count too, those of its tokenizer as well.
    model.generation_config.eos_token_id = [2, mark]
    assert list(generate(model, tokenizer, [start], section)) == [ended]
    model.generation_config.eos_token_id = 2
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(mark)
    assert list(generate(model, tokenizer, [start], section)) == [ended]


def test_a_stop_string_may_be_a_special_token(stories: tuple[Any, Any]) -> None:
    model, tokenizer = stories
    [start, *_] = prompts_of(tokenizer)
    model.generation_config.eos_token_id = None
    tokenizer.eos_token = None
    tokenizer.add_special_tokens({"additional_special_tokens": ["</s>"]})
    with torch.no_grad():  # the model now always says </s>
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight * 0)
    model.lm_head.register_forward_hook(lambda m, i, out: out + torch.eye(512)[2] * 9)
    [found] = generate(model, tokenizer, [start], Generation(max_new_tokens=5, stop=("</s>",)))
    assert (found.text, found.finish, found.tokens) == ("", "stop", 0)
    [found] = generate(model, tokenizer, [start], Generation(max_new_tokens=5))
    assert (found.text, found.finish) == ("", "length")


def test_the_models_own_settings_change_nothing(stories: tuple[Any, Any]) -> None:
    model, tokenizer = stories
    before = texts(model, tokenizer, 4)
    own = model.generation_config
    own.repetition_penalty, own.no_repeat_ngram_size, own.min_new_tokens = 9.0, 1, 30
    own.do_sample, own.top_k, own.suppress_tokens = True, 2, [411, 432]
    assert texts(model, tokenizer, 4) == before
    assert model.generation_config is own
    assert own.repetition_penalty == 9.0


def test_modes_are_restored(stories: tuple[Any, Any]) -> None:
    model, tokenizer = stories
    model.train()
    model.lm_head.eval()
    texts(model, tokenizer, 4)
    assert model.training
    assert model.model.layers[0].training
    assert not model.lm_head.training
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_order_over_several_windows(stories: tuple[Any, Any], monkeypatch: Any) -> None:
    from ftune.evaluate import predicting

    model, tokenizer = stories
    section = Generation(max_new_tokens=4)
    prompts = prompts_of(tokenizer)
    expected = list(generate(model, tokenizer, prompts, section, batch_size=16))
    monkeypatch.setattr(predicting, "WINDOW", 1)
    calls: list[int] = []
    found = generate(
        model, tokenizer, prompts, section, batch_size=2, between=lambda: calls.append(1)
    )
    assert list(found) == expected
    assert len(calls) == 4
    assert list(generate(model, tokenizer, [], section)) == []


def test_no_room_for_an_answer(stories: tuple[Any, Any]) -> None:
    model, tokenizer = stories
    fits = Prompt([5] * 500, "", (), "test.csv", 7)
    [found] = generate(model, tokenizer, [fits], Generation(max_new_tokens=12))
    assert found.tokens == 12 or found.finish == "stop"
    long = Prompt([5] * 501, "", (), "test.csv", 8)
    with pytest.raises(DataError, match=r"test.csv:8: 501 prompt tokens .* at most 11"):
        next(generate(model, tokenizer, [fits, long], Generation(max_new_tokens=12)))
    wrapped = tuned(model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=6))
    with pytest.raises(DataError, match=r"test.csv:7: 506 prompt tokens"):
        next(generate(wrapped, tokenizer, [fits], Generation(max_new_tokens=12)))
    with pytest.raises(DataError, match=r"test.csv:9: the prompt has no tokens"):
        next(generate(model, tokenizer, [Prompt([], "", (), "test.csv", 9)], Generation()))
    with pytest.raises(RecipeError, match="empty string"):
        next(generate(model, tokenizer, [fits], Generation(stop=("",))))


class Told(Silent):
    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.updates: list[int] = []

    def warn(self, line: str) -> None:
        self.warnings.append(line)

    @contextmanager
    def meter(self, title: str, total: int | None, unit: str) -> Iterator[Any]:
        yield self

    def update(self, done: int, **figures: str) -> None:
        self.updates.append(done)


def test_short_memory_halves_the_batch(stories: tuple[Any, Any]) -> None:
    model, tokenizer = stories
    prompts = prompts_of(tokenizer)
    section = Generation(max_new_tokens=4)
    expected = list(generate(model, tokenizer, prompts, section))
    own = model.generate

    def short(room: int) -> Any:
        def run(**given: Any) -> Any:
            if len(given["input_ids"]) > room:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return own(**given)

        return run

    model.generate = short(2)
    told = Told()
    assert list(generate(model, tokenizer, prompts, section, progress=told)) == expected
    assert len(told.warnings) == 2  # 7 -> 3 -> 1
    assert "evaluate.batch_size: 1" in told.warnings[-1]
    assert told.updates == [1, 2, 3, 4, 5, 6, 7]
    model.generate = short(0)
    with pytest.raises(RunError, match=r"data\.jsonl:4: there isn't memory"):
        list(generate(model, tokenizer, prompts, section))

    def broken(**given: Any) -> Any:
        raise RuntimeError("something else")

    model.generate = broken
    with pytest.raises(RuntimeError, match="something else"):
        list(generate(model, tokenizer, prompts, section))
