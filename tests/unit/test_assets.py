"""The model and the data that ship with ftune: size, round trips, marks, splits, no leak."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "ftune" / "assets" / "tiny"
QUICKSTART = ROOT / "ftune" / "assets" / "quickstart"
SPLITS = {"train": 640, "eval": 80, "test": 120}
FIELDS = ["item", "amount", "for", "place", "day"]


@cache
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(TINY)


@cache
def model() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(TINY, dtype="float32")


@cache
def rows(split: str) -> list[dict[str, str]]:
    lines = (QUICKSTART / f"{split}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def fields(row: dict[str, str]) -> dict[str, str]:
    return dict(part.split(": ", 1) for part in row["output"].split(" | "))


def greedy(text: str, count: int) -> str:
    ids = tokenizer()(text, return_tensors="pt").input_ids
    out = model().generate(input_ids=ids, max_new_tokens=count, do_sample=False)
    return tokenizer().decode(out[0, ids.shape[1] :], skip_special_tokens=True)


def test_model_folder_is_at_most_8_mib() -> None:
    assert sum(path.stat().st_size for path in TINY.iterdir()) <= 8 * 2**20


def test_model_is_a_llama_in_bfloat16_without_missing_weights() -> None:
    from transformers import AutoModelForCausalLM

    made: Any = AutoModelForCausalLM.from_pretrained(TINY, output_loading_info=True)
    loaded, notes = made
    assert loaded.config.model_type == "llama"
    assert str(loaded.dtype) == "torch.bfloat16"
    assert not notes["missing_keys"] and not notes["unexpected_keys"]
    assert loaded.config.vocab_size == len(tokenizer()) == 2048
    assert loaded.config.max_position_embeddings == tokenizer().model_max_length == 512


def test_model_copies_a_pair_that_it_has_just_read() -> None:
    text = "Anna has green. Peter has silver. Clara has brown. Henry has pink. Peter has"
    assert greedy(text, 1) == " silver"


def test_model_knows_more_than_chance_of_plain_text() -> None:
    import torch

    ids = tokenizer()("Anna went to the market with Ben. Ben went home.", return_tensors="pt")
    with torch.no_grad():
        loss = model()(input_ids=ids.input_ids, labels=ids.input_ids).loss
    assert float(loss) < 5.0, "a random model has ln 2048 = 7.6"


def test_model_and_tokenizer_are_saved_and_loaded_equal(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model().save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    text = "Seven apples, 7 apples\n"
    ids = tokenizer()(text, return_tensors="pt").input_ids
    assert AutoTokenizer.from_pretrained(tmp_path)(text).input_ids == ids[0].tolist()
    with torch.no_grad():
        assert torch.equal(again(ids).logits, model()(ids).logits)


@settings(max_examples=300)
@given(st.text())
def test_tokenizer_gives_back_any_text(text: str) -> None:
    ids = tokenizer()(text, add_special_tokens=False).input_ids
    assert tokenizer().decode(ids) == text
    assert tokenizer().unk_token is None


@pytest.mark.parametrize("text", ["", "a", "two words", "é 漢字 \U0001f600\t\n"])
def test_tokenizer_puts_one_bos_before_a_text_and_no_end(text: str) -> None:
    tok = tokenizer()
    plain = tok(text, add_special_tokens=False).input_ids
    assert tok(text).input_ids == [tok.bos_token_id, *plain]


def test_special_tokens_are_five_different_ones() -> None:
    tok = tokenizer()
    marks = ["<|bos|>", "<|eos|>", "<|pad|>", "<|im_start|>", "<|im_end|>"]
    assert [tok.bos_token, tok.eos_token, tok.pad_token] == marks[:3]
    ids = tok.convert_tokens_to_ids(marks)
    assert len(set(ids)) == 5
    assert [tok(mark, add_special_tokens=False).input_ids for mark in marks] == [[i] for i in ids]
    assert model().generation_config.eos_token_id == [ids[1], ids[4]]
    assert model().config.pad_token_id == model().generation_config.pad_token_id == ids[2]


def test_chat_template_marks_the_answers_and_their_end() -> None:
    tok = tokenizer()
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello!"},
        {"role": "assistant", "content": "Good day."},
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "Anna."},
    ]
    made = tok.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    pairs = zip(made["input_ids"], made["assistant_masks"], strict=True)
    trained = tok.decode([token for token, mask in pairs if mask])
    assert trained == "Good day.<|im_end|>Anna.<|im_end|>"
    assert made["input_ids"].count(tok.bos_token_id) == 1
    prompt = tok.apply_chat_template(messages[:4], tokenize=False, add_generation_prompt=True)
    assert tok.apply_chat_template(messages, tokenize=False).startswith(prompt)
    assert prompt.endswith("<|im_start|>assistant\n")


@pytest.mark.parametrize("split", SPLITS)
def test_quickstart_rows_are_records_of_their_message(split: str) -> None:
    assert len(rows(split)) == SPLITS[split]
    for row in rows(split):
        assert list(row) == ["instruction", "input", "output"]
        assert all(value == value.strip() and "\n" not in value for value in row.values())
        record = fields(row)
        assert list(record) == FIELDS
        for key in ("item", "for", "place", "day"):
            assert record[key] == "-" or record[key].lower() in row["input"].lower()
        assert record["amount"].split()[0].isdigit()


def test_quickstart_splits_share_no_message_and_no_combination() -> None:
    for what in (
        lambda row: row["input"],
        lambda row: tuple(fields(row)[key] for key in ("item", "for", "place", "day")),
    ):
        every = [what(row) for split in SPLITS for row in rows(split)]
        assert len(every) == len(set(every))


@pytest.mark.parametrize("key", ["item", "for", "place"])
def test_quickstart_test_has_values_that_training_never_saw(key: str) -> None:
    seen = {fields(row)[key] for split in ("train", "eval") for row in rows(split)}
    new = [row for row in rows("test") if fields(row)[key] not in seen]
    assert len(new) >= 0.1 * len(rows("test"))


def test_quickstart_is_made_again_byte_for_byte(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tools/quickstart/make.py"), "--out", str(tmp_path)]
    subprocess.run(command, check=True)
    for split in SPLITS:
        made = (tmp_path / f"{split}.jsonl").read_bytes()
        assert made == (QUICKSTART / f"{split}.jsonl").read_bytes()


def test_pre_training_text_holds_no_record_and_no_message_of_the_quickstart() -> None:
    script = str(ROOT / "tools/tiny/text.py")
    command = [sys.executable, script, "--documents", "20000", "--seed", "7"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "amount:" not in text and "| for:" not in text
    assert not [row for split in SPLITS for row in rows(split) if row["input"] in text]
