"""Bad input, what it has to end with, and the words that the message must hold."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from small_runs import row, write_rows

Spoil = Callable[[Path], object]


@dataclass(frozen=True)
class Bad:
    """``spoil`` is done in a folder with model, data and recipe; then ``arguments`` are called."""

    name: str
    code: int
    words: tuple[str, ...]
    arguments: tuple[str, ...] = ("train", "recipe.yaml")
    spoil: Spoil = lambda home: None


def over(*overrides: str) -> tuple[str, ...]:
    """``ftune train`` with overrides."""
    return ("train", "recipe.yaml", *(x for o in overrides for x in ("-o", o)))


def text(new: str | bytes) -> Spoil:
    """The recipe as another text."""
    data = new.encode() if isinstance(new, str) else new
    return lambda home: (home / "recipe.yaml").write_bytes(data)


def edited(old: str, new: str) -> Spoil:
    """The recipe with a part of its text replaced."""

    def spoil(home: Path) -> None:
        before = (home / "recipe.yaml").read_text(encoding="utf-8")
        assert old in before
        (home / "recipe.yaml").write_text(before.replace(old, new, 1), encoding="utf-8")

    return spoil


def train_file(content: bytes, name: str = "train.jsonl") -> Spoil:
    """Training rows with these bytes."""
    return lambda home: (home / name).write_bytes(content)


def rows(*values: Any, name: str = "train.jsonl") -> Spoil:
    return lambda home: write_rows(home / name, values)


BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)
)
RECIPES = [
    Bad("typo", 2, ("train.learning_rte", "did you mean learning_rate"),
        over("train.learning_rte=1")),
    Bad("typo in the file", 2, ("recipe.yaml:", "learning_rat is not", "learning_rate"),
        spoil=edited("learning_rate:", "learning_rat:")),
    Bad("another tool's name", 2, ("base_model", "model.name_or_path"),
        spoil=edited("model:\n", "base_model: x\nmodel:\n")),
    Bad("a key twice", 2, ("recipe.yaml:18:3", "r stands here again", "line 17"),
        spoil=edited("  r: 2\n", "  r: 2\n  r: 3\n")),
    Bad("tab", 2, ("recipe.yaml:", "tab"), spoil=edited("  r: 2", "\tr: 2")),
    Bad("aliases", 2, ("recipe.yaml:",), spoil=text(BOMB)),
    Bad("deep", 2, ("recipe.yaml:",), spoil=text("a: " + "[" * 20000)),
    Bad("object tag", 2, ("recipe.yaml:", "!!python"),
        spoil=edited("  r: 2", "  r: !!python/object/apply:os.getpid []")),
    Bad("no number", 2, ("train.max_steps", "many"), over("train.max_steps=many")),
    Bad("negative", 2, ("train.max_steps", "-1"), over("train.max_steps=-1")),
    Bad("NaN", 2, ("train.learning_rate",), over("train.learning_rate=.nan")),
    Bad("unknown method", 2, ("lorra", "did you mean lora"), over("tune.method=lorra")),
    Bad("unknown metric", 2, ("blue", "did you mean bleu"), over("evaluate.metrics=[blue]")),
    Bad("unknown template", 2, ("chatlm", "chatml"), over("data.template=chatlm")),
    Bad("unknown format", 2, ("alpacca", "alpaca"), over("data.train.0.format=alpacca")),
    Bad("no data", 2, ("data", "missing"), spoil=text("model: {name_or_path: ftune:tiny}\n")),
    Bad("empty", 2, ("recipe.yaml",), spoil=text("")),
    Bad("no mapping", 2, ("recipe.yaml", "must be keys"), spoil=text("- a\n- b\n")),
    Bad("not UTF-8", 2, ("recipe.yaml", "UTF-8"), spoil=text(b"name: \xff\xfe\n")),
    Bad("no such recipe", 2, ("recip.yaml", "recipe.yaml"), ("train", "recip.yaml")),
    Bad("a folder as recipe", 2, ("model",), ("train", "model")),
    Bad("qlora without 4 bits", 2, ("qlora", "load_in_4bit"), over("tune.method=qlora")),
    Bad("4 and 8 bits", 2, ("exclude each other",),
        over("model.quantization={load_in_4bit: true, load_in_8bit: true}")),
    Bad("all held out", 2, ("data.test", "leaves none"), over("data.eval=0.5", "data.test=0.5")),
    Bad("override without a value", 2, ("train.max_steps",), over("train.max_steps")),
    Bad("run name that leads out", 2, ("name", "/"), over("name=../x")),
    Bad("absolute run name", 2, ("name", "/"), over("name=/tmp/x")),
    Bad("run name with a NUL", 2, ("name", "control"), over('name="a\\0b"')),
    Bad("run name with a line end", 2, ("name", "control"), over('name="a\\nb"')),
    Bad("long run name", 2, ("name", "100"), over("name=" + "x" * 300)),
    Bad("runs_dir is a file", 2, ("runs_dir", "is a file"), over("runs_dir=recipe.yaml")),
    Bad("missing data file", 2, ("there is no file trian.jsonl", "train.jsonl"),
        over("data.train.0.path=trian.jsonl")),
    Bad("missing model folder", 2, ("modle", "model"), over("model.name_or_path=./modle")),
]  # fmt: skip

DATA = [
    Bad("wrong type", 3, ("train.jsonl:2", "'instruction' is a number", "on_bad_row"),
        spoil=rows(row(0), {"instruction": 5}, row(1))),
    Bad("missing column", 3, ("train.jsonl:1", "'instruction'", "question"),
        spoil=rows({"question": "a", "output": "b"})),
    Bad("empty answer", 3, ("train.jsonl:1", "'output' is empty"),
        spoil=rows({**row(0), "output": " "})),
    Bad("empty file", 3, ("train.jsonl", "empty"), spoil=train_file(b"")),
    Bad("UTF-16", 3, ("train.jsonl", "UTF-16"),
        spoil=train_file(json.dumps(row(0)).encode("utf-16"))),
    Bad("no JSON", 3, ("train.jsonl:1",), spoil=train_file(b'{"instruction": \n')),
    Bad("no UTF-8", 3, ("train.jsonl:1", "UTF-8"), spoil=train_file(b'{"instruction": "\xff"}\n')),
    Bad("null row", 3, ("train.jsonl:1",), spoil=train_file(b"null\n")),
    Bad("all rows bad and skipped", 3, ("none of the 1 rows is left", "1 bad"),
        over("data.on_bad_row=skip"), rows({"a": 1})),
    Bad("all rows dropped", 3, ("none of the 12 rows is left", "too long"),
        over("data.max_length=8", "data.on_too_long=drop")),
    Bad("too long", 3, ("train.jsonl:1", "on_too_long"), over("data.max_length=8")),
    Bad("no trained token", 3, ("none of the 12 rows is left", "12 answer cut away"),
        over("data.max_length=8", "data.on_too_long=truncate")),
    Bad("too few trained tokens", 3, ("trained", "90.00%"), over("data.min_trained=0.9")),
    Bad("unknown role", 3, ("m.jsonl:1", "boss"),
        over("data.train=[{path: m.jsonl, format: messages}]"),
        rows({"messages": [{"role": "boss", "content": "x"}]}, name="m.jsonl")),
    Bad("damaged gzip", 3, ("t.jsonl.gz",), over("data.train.0.path=t.jsonl.gz"),
        train_file(b"\x1f\x8b\x08nothing", "t.jsonl.gz")),
    Bad("damaged parquet", 3, ("t.parquet",), over("data.train.0.path=t.parquet"),
        train_file(b"PAR1 nothing", "t.parquet")),
    Bad("csv without columns", 3, ("t.csv",), over("data.train.0.path=t.csv"),
        train_file(b"a,b\n1,2\n", "t.csv")),
    Bad("a pipe as data", 3, ("pipe.jsonl", "regular"), over("data.train.0.path=pipe.jsonl"),
        lambda home: os.mkfifo(home / "pipe.jsonl")),
    Bad("bad test row", 3, ("test.jsonl:1",), spoil=rows({"a": 1}, name="test.jsonl")),
    Bad("no room for an answer", 3, ("test.jsonl:1", "max_new_tokens"),
        over("evaluate.generation.max_new_tokens=10000", "evaluate.metrics=[bleu]")),
]  # fmt: skip


def weights(home: Path) -> Path:
    return home / "model" / "model.safetensors"


def pickled(home: Path) -> None:
    weights(home).rename(home / "model" / "pytorch_model.bin")


def damaged(change: Callable[[bytearray], bytes]) -> Spoil:
    """The weights with changed bytes."""
    return lambda home: weights(home).write_bytes(change(bytearray(weights(home).read_bytes())))


def with_nan(home: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(weights(home))
    next(iter(tensors.values()))[0] = float("nan")
    save_file(tensors, weights(home), {"format": "pt"})


def linked_out(home: Path) -> None:
    outside = home.parent / "outside.safetensors"
    shutil.copy(weights(home), outside)
    weights(home).unlink()
    weights(home).symlink_to(outside)


def an_adapter(home: Path) -> None:
    (home / "model" / "config.json").rename(home / "model" / "adapter_config.json")


def config(**changes: Any) -> Spoil:
    """The model's config.json with other values."""

    def spoil(home: Path) -> None:
        path = home / "model" / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return spoil


MODELS = [
    Bad("pickled weights", 4, ("only pickled weights", "pytorch_model.bin"), spoil=pickled),
    Bad("a header too long", 4, ("model.safetensors",),
        spoil=damaged(lambda b: b"\xff" * 8 + bytes(b[8:]))),
    Bad("a damaged header", 4, ("model.safetensors", "header"),
        spoil=damaged(lambda b: bytes(b[:8]) + b"x" + bytes(b[9:]))),
    Bad("cut weights", 4, ("model.safetensors", "bytes"), spoil=damaged(lambda b: bytes(b[:-9]))),
    Bad("a pickle called safetensors", 4, ("model.safetensors",),
        spoil=damaged(lambda b: b"\x80\x04\x95.")),
    Bad("no weights", 4, ("model.safetensors",), spoil=lambda home: weights(home).unlink()),
    Bad("no config", 4, ("config.json",),
        spoil=lambda home: (home / "model" / "config.json").unlink()),
    Bad("a damaged config", 4, ("config.json", "JSON"),
        spoil=lambda home: (home / "model" / "config.json").write_text("{")),
    Bad("an unknown architecture", 4, ("nonesuch",), spoil=config(model_type="nonesuch")),
    Bad("an encoder", 4, ("model",), spoil=config(model_type="vit", architectures=["ViTModel"])),
    Bad("no tokenizer", 4, ("tokenizer",),
        spoil=lambda home: [p.unlink() for p in (home / "model").glob("tokenizer*")]),
    Bad("a damaged tokenizer", 4, ("tokenizer",),
        spoil=lambda home: (home / "model" / "tokenizer.json").write_text("{}")),
    Bad("targets that match nothing", 4, ("tune.target_modules", "nonesuch", "q_proj"),
        over("tune.target_modules=[nonesuch]")),
    Bad("modules that match nothing", 4, ("tune.modules_to_save", "nonesuch"),
        over("tune.modules_to_save=[nonesuch]")),
    Bad("no such device", 4, ("model.device", "mps"), over("model.device=mps")),
    Bad("half precision that the device lacks", 4, ("mixed_precision", "fp16"),
        over("distributed.mixed_precision=fp16")),
    Bad("NaN in a weight", 4, ("NaN",), spoil=with_nan),
    Bad("weights of another shape", 4, ("shape",), spoil=config(intermediate_size=40)),
    Bad("more layers than weights", 4, ("missing",), spoil=config(num_hidden_layers=2)),
    Bad("weights outside of the folder", 4, ("model.safetensors", "leads out"), spoil=linked_out),
    Bad("an adapter as base", 4, ("adapter",), spoil=an_adapter),
    Bad("a hub id without a network", 4, ("nobody/nothing", "HF_HUB_OFFLINE"),
        over("model.name_or_path=nobody/nothing")),
    Bad("a file as model", 2, ("recipe.yaml",), over("model.name_or_path=./recipe.yaml")),
    Bad("a text that is missing", 4, ("prompt_tuning_init_text",),
        over("tune={method: prompt_tuning, prompt_tuning_init: TEXT}")),
    Bad("code without leave", 4, ("trust_remote_code", "--trust-remote-code"),
        over("model.trust_remote_code=true")),
]  # fmt: skip


def run_linked_out(home: Path) -> None:
    (home.parent / "outside").mkdir()
    (home / "runs").mkdir()
    (home / "runs" / "recipe").symlink_to(home.parent / "outside")


RUNS = [
    Bad("runs_dir below a file", 5, ("recipe.yaml/runs", "MB are free"),
        over("runs_dir=recipe.yaml/runs")),
    Bad("a run's folder that is a link", 5, ("link", "runs_dir"), spoil=run_linked_out),
    Bad("no run to merge", 5, ("recipe.yaml", "ftune train"), ("merge", "recipe.yaml")),
    Bad("no run to ask", 5, ("recipe.yaml", "ftune train"), ("generate", "recipe.yaml", "-p", "x")),
    Bad("a diverging rate", 5, ("step ", "train.jsonl:", "learning_rate"),
        over("train.learning_rate=1e30", "train.save_steps=1")),
]  # fmt: skip

ARGUMENTS = [
    Bad("unknown verb", 2, ("trane",), ("trane", "recipe.yaml")),
    Bad("unknown option", 2, ("--frsh",), ("train", "recipe.yaml", "--frsh")),
    Bad("no recipe", 2, ("RECIPE",), ("train",)),
    Bad("unknown run", 2, ("nonesuch", "runs"), ("eval", "nonesuch")),
    Bad("unknown run to show", 5, ("nonesuch",), ("runs", "show", "nonesuch")),
    Bad("unknown runs to compare", 5, ("nonesuch",), ("runs", "compare", "nonesuch", "other")),
    Bad("unknown rows", 2, ("--on", "valid"), ("eval", "recipe.yaml", "--on", "valid")),
    Bad("nothing to generate", 2, ("--prompt",), ("generate", "recipe.yaml")),
    Bad("two things to generate", 2, ("one of",),
        ("generate", "recipe.yaml", "-p", "x", "--chat")),
    Bad("output without input", 2, ("--input",),
        ("generate", "recipe.yaml", "-p", "x", "--output", "o.jsonl")),
    Bad("unknown dtype", 2, ("--dtype", "int4"), ("merge", "recipe.yaml", "--dtype", "int4")),
    Bad("init over a recipe", 2, ("recipe.yaml", "there already"), ("init", "train.jsonl")),
    Bad("init of nothing", 3, ("nothing.jsonl",),
        ("init", "nothing.jsonl", "--output", "new.yaml")),
    Bad("init with an unknown method", 2, ("lorra", "lora"),
        ("init", "train.jsonl", "--output", "new.yaml", "--method", "lorra")),
    Bad("a folder that is no model", 4, ("adapter",),
        ("eval", "recipe.yaml", "--model", "empty"), lambda home: (home / "empty").mkdir()),
]  # fmt: skip

ALL = [*RECIPES, *DATA, *MODELS, *RUNS, *ARGUMENTS]
