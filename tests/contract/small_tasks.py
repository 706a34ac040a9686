"""A small encoder, and a few rows and a recipe for each objective that learns labels."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

COLOURS = ("red", "green", "blue", "grey")
THINGS = ("box", "hat", "cup", "dog", "pen")


def make_encoder(folder: Path, longest: int = 64, **options: Any) -> Path:
    """A random BERT without a head, whose tokens are letters and a few words.

    Its tokenizer says that it reads ``longest`` tokens.
    """
    import torch
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    pieces = [*marks, *letters, *(f"##{one}" for one in letters), *COLOURS, *THINGS, "the", "is"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    PreTrainedTokenizerFast(
        tokenizer_object=BertWordPieceTokenizer(vocabulary, lowercase=True)._tokenizer,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        model_max_length=longest,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    shape = {
        "vocab_size": len(pieces),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "initializer_range": 0.2,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    torch.manual_seed(0)
    BertModel(BertConfig(**{**shape, **options})).save_pretrained(folder)
    return folder


def make_seq2seq(folder: Path, longest: int = 64, **options: Any) -> Path:
    """A random T5 with the tokens of ``make_encoder``, without marks in front."""
    import torch
    from tokenizers import BertWordPieceTokenizer, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    marks = ["<pad>", "</s>", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    pieces = [*marks, *letters, *(f"##{one}" for one in letters), *COLOURS, *THINGS, "the", "is"]
    made = BertWordPieceTokenizer({piece: at for at, piece in enumerate(pieces)}, lowercase=True)
    made._tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=made._tokenizer,
        model_max_length=longest,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="[UNK]",
    ).save_pretrained(folder)
    shape = {
        "vocab_size": len(pieces),
        "d_model": 32,
        "d_kv": 16,
        "d_ff": 64,
        "num_layers": 1,
        "num_heads": 2,
        "dropout_rate": 0.0,
        "decoder_start_token_id": 0,
    }
    torch.manual_seed(0)
    T5ForConditionalGeneration(T5Config(**{**shape, **options})).save_pretrained(folder)
    return folder


def _said(number: int) -> tuple[str, str, str]:
    colour, thing = COLOURS[number % 2], THINGS[number % 5]
    return colour, thing, f"the {thing} is {colour}"


def rows(objective: str, count: int = 20) -> list[dict[str, Any]]:
    """Rows of which a small model can learn what they ask."""
    return [_ROW[objective](number) for number in range(count)]


def _classified(number: int) -> dict[str, Any]:
    colour, _, text = _said(number)
    return {"text": text, "other": "it is so", "label": "warm" if colour == "red" else "cold"}


def _several(number: int) -> dict[str, Any]:
    colour, thing, text = _said(number)
    return {"text": text, "label": [colour] + [thing] * (number % 2)}


def _rated(number: int) -> dict[str, Any]:
    colour, _, text = _said(number)
    return {"text": text, "label": 0.5 if colour == "red" else -1.5}


def _tagged(number: int) -> dict[str, Any]:
    words = _said(number)[2].split()
    return {"tokens": words, "tags": ["O", "B-THING", "O", "B-COLOUR"]}


def _chosen(number: int) -> dict[str, Any]:
    colour, thing, _ = _said(number)
    wrong = "green" if colour == "red" else "red"
    choices = [colour, wrong] if number % 2 else [wrong, colour]
    return {"context": f"the {thing} is {colour}", "choices": choices, "label": 1 - number % 2}


def _asked(number: int) -> dict[str, Any]:
    colour, thing, text = _said(number)
    answers = {"text": [colour], "answer_start": [text.index(colour)]}
    return {"question": f"{thing}?", "context": text, "answers": answers}


def _written(number: int) -> dict[str, Any]:
    colour, thing, _ = _said(number)
    return {"prompt": f"which {colour} is the {thing}?", "completion": f"it is {colour}"}


_ROW = {
    "seq2seq": _written,
    "classification": _classified,
    "several": _several,
    "regression": _rated,
    "token_classification": _tagged,
    "multiple_choice": _chosen,
    "question_answering": _asked,
}
FORMATS = {
    "seq2seq": "prompt_completion",
    "classification": "labelled",
    "several": "labelled",
    "regression": "labelled",
    "token_classification": "tagged",
    "multiple_choice": "choices",
    "question_answering": "squad",
}
METRICS = {
    "seq2seq": "[exact_match]",
    "classification": "[accuracy, classification]",
    "several": "[exact_match]",
    "regression": "[correlation]",
    "token_classification": "[seqeval]",
    "multiple_choice": "[exact_match]",
    "question_answering": "[squad]",
}
# What the recipes of some tasks have otherwise.
OTHERWISE = {
    "seq2seq": (
        ("name_or_path: model", "name_or_path: seq2seq-model"),
        ("max_length: 32", "max_length: 32\n  template: plain"),
        (
            "r: 4, target_modules: [query, value]",
            "r: 16, lora_alpha: 32, modules_to_save: [shared]",
        ),
        ("bootstrap: 0", "bootstrap: 0\n  generation: {max_new_tokens: 8}"),
        ("num_train_epochs: 8", "num_train_epochs: 40"),
        ("learning_rate: 2e-2", "learning_rate: 1e-2"),
    ),
}
OBJECTIVES = {
    "several": "{classification: {multi_label: true}}",
    "question_answering": "{question_answering: {doc_stride: 4}}",
}

RECIPE = """\
name: NAME
model: {name_or_path: model, device: cpu}
data:
  train: [{path: NAME.jsonl, format: FORMAT}]
  eval: [{path: NAME.jsonl, format: FORMAT}]
  test: [{path: NAME.jsonl, format: FORMAT}]
  max_length: 32
tune: {method: lora, r: 4, target_modules: [query, value]}
train:
  objective: OBJECTIVE
  learning_rate: 2e-2
  num_train_epochs: 8
  per_device_train_batch_size: 4
  logging_steps: 1
evaluate:
  metrics: METRICS
  bootstrap: 0
"""


def write(folder: Path, name: str) -> Path:
    """Rows and a recipe for the objective in ``folder``, beside a model that is there."""
    lines = "".join(json.dumps(row) + "\n" for row in rows(name))
    (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    text = RECIPE.replace("NAME", name).replace("FORMAT", FORMATS[name])
    text = text.replace("OBJECTIVE", OBJECTIVES.get(name, name)).replace("METRICS", METRICS[name])
    for before, after in OTHERWISE.get(name, ()):
        text = text.replace(before, after)
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path
