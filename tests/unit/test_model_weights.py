"""Broken and hostile safetensors files: refused by name, before a library opens them."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from ftune.errors import ModelError
from ftune.model import weights

TINY = Path(weights.__file__).parent.parent / "assets" / "tiny"


def made(path: Path, header: str, data: bytes = b"") -> Path:
    path.write_bytes(len(header.encode()).to_bytes(8, "little") + header.encode() + data)
    return path


def entry(start: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def test_reads_what_safetensors_wrote(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    tensors = {
        "a": torch.zeros(3, 4),
        "b": torch.zeros(2, dtype=torch.bfloat16),
        "empty": torch.zeros(0, 7),
        "scalar": torch.tensor(1.0),
        "bits": torch.zeros(5, dtype=torch.bool),
    }
    save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "pt"})
    infos = weights.header(tmp_path / "x.safetensors")
    assert {name: info.shape for name, info in infos.items()} == {
        name: tuple(tensor.shape) for name, tensor in tensors.items()
    }


@pytest.mark.parametrize(
    ("text", "data", "word"),
    [
        ('{"a":', b"", "damaged"),
        ("[1, 2]", b"", "damaged"),
        ("[" * 100_000, b"", "damaged"),
        (
            '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
            '"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
            b"\0" * 8,
            "twice",
        ),
        (json.dumps({"a": entry(0, 4, [1]), "b": entry(2, 6, [1])}), b"\0" * 6, "overlaps"),
        (json.dumps({"a": entry(4, 8, [1])}), b"\0" * 8, "gap"),
        (json.dumps({"a": entry(0, 400, [100])}), b"\0" * 8, "bytes"),
        (json.dumps({"a": entry(0, 4, [1])}), b"\0" * 8, "bytes"),
        (json.dumps({"a": entry(0, 4, [2])}), b"\0" * 4, "shape"),
        (json.dumps({"a": entry(0, 4, [1], "F99")}), b"\0" * 4, "F99"),
        (json.dumps({"a": entry(-4, 0, [1])}), b"", "whole number"),
        (json.dumps({"a": entry(0, 4, [True])}), b"\0" * 4, "whole number"),
    ],
)
def test_refuses_a_bad_header(tmp_path: Path, text: str, data: bytes, word: str) -> None:
    path = made(tmp_path / "model.safetensors", text, data)
    with pytest.raises(ModelError, match=word) as caught:
        weights.header(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        (100 * 2**20).to_bytes(8, "little") + b"{}",
        (2**63).to_bytes(8, "little") + b"{}" * 100,
        pickle.dumps({"a": 1}),
        b"PK\x03\x04" + b"\0" * 100,
    ],
)
def test_refuses_what_is_no_safetensors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="no safetensors file or is cut off"):
        weights.header(path)


def test_a_large_header_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as handle:
        handle.write((100 * 2**20).to_bytes(8, "little"))
        handle.truncate(200 * 2**20)  # sparse
    with pytest.raises(ModelError, match="no safetensors file"):
        weights.header(path)


def test_the_index_names_only_files_of_the_folder(tmp_path: Path) -> None:
    outside = made(tmp_path / "secret.safetensors", "{}")
    root = tmp_path / "model"
    root.mkdir()
    index = root / weights.INDEX
    index.write_text(json.dumps({"weight_map": {"a": "../secret.safetensors"}}))
    with pytest.raises(ModelError, match="leads out of the model's folder"):
        weights.files(root)
    index.write_text(json.dumps({"weight_map": {"a": str(outside)}}))
    with pytest.raises(ModelError, match="leads out"):
        weights.files(root)
    index.write_text(json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}}))
    with pytest.raises(ModelError, match=r"model-00001-of-00002.safetensors: is missing"):
        weights.files(root)
    index.write_text(json.dumps({"weight_map": {"a": 3}}))
    with pytest.raises(ModelError, match="weight_map"):
        weights.files(root)


def test_links_and_pipes_are_refused(tmp_path: Path) -> None:
    made(tmp_path / "elsewhere.safetensors", "{}")
    root = tmp_path / "model"
    root.mkdir()
    (root / weights.SINGLE).symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(ModelError, match="leads out"):
        weights.files(root)
    (root / weights.SINGLE).unlink()
    os.mkfifo(root / weights.SINGLE)
    with pytest.raises(ModelError, match="not a plain file"):
        weights.files(root)


def test_a_snapshot_links_to_its_blobs(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    made(blobs / "123", "{}")
    (snapshot / weights.SINGLE).symlink_to("../../blobs/123")
    assert weights.files(snapshot) == [snapshot / weights.SINGLE]


@pytest.mark.parametrize(
    ("name", "word"),
    [("pytorch_model.bin", "pickled"), ("x.gguf", "GGUF"), ("notes.txt", "neither")],
)
def test_other_weights_are_named_with_a_remedy(tmp_path: Path, name: str, word: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelError, match=word):
        weights.files(tmp_path)


def test_fingerprint_is_of_the_weights_not_of_their_files(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(TINY / weights.SINGLE)
    names = sorted(tensors)
    save_file({n: tensors[n] for n in names[::2]}, tmp_path / "1.safetensors")
    save_file({n: tensors[n] for n in names[1::2]}, tmp_path / "2.safetensors")
    sharded = weights.fingerprint(sorted(tmp_path.glob("*.safetensors")))
    assert sharded == weights.fingerprint([TINY / weights.SINGLE])
    changed = tensors[names[0]].clone()
    changed[-1] += 1
    save_file({**tensors, names[0]: changed}, tmp_path / "changed.safetensors")
    assert weights.fingerprint([tmp_path / "changed.safetensors"]) != sharded


def test_json_that_is_broken_is_named(tmp_path: Path) -> None:
    for text in ("{", "[]", "[" * 100_000):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ModelError, match=r"config\.json"):
            weights.read_json(tmp_path, "config.json")
    shutil.rmtree(tmp_path)
