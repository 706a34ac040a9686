"""Finding models: shipped, local, and in the hub's cache, without a network."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ftune.errors import ModelError
from ftune.model import hub
from ftune.model.resolve import ASSETS, locate

TINY = ASSETS / "tiny"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY, tmp_path / "model"))


def test_shipped_and_local_are_the_same_base(copy: Path) -> None:
    shipped, local = locate("ftune:tiny"), locate(str(copy))
    assert shipped.folder == TINY and shipped.commit is None
    assert shipped.identity["name"] == "ftune:tiny"
    assert shipped.identity["fingerprint"] == local.identity["fingerprint"]
    assert shipped.identity["sha256"] == local.identity["sha256"]


def test_identity_changes_with_any_byte(copy: Path) -> None:
    before = locate(str(copy)).identity["sha256"]
    content = bytearray((copy / "model.safetensors").read_bytes())
    content[-1001] ^= 1
    (copy / "model.safetensors").write_bytes(content)
    assert locate(str(copy)).identity["sha256"] != before


def test_needs_no_torch() -> None:
    code = (
        "import sys; from ftune.model.resolve import locate; locate('ftune:tiny').identity;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("ftune:nothing", "there is: ftune:tiny"),
        ("ftune:../recipe", "does not ship"),
        ("./no/such/folder", "no such folder"),
        ("/no/such/folder", "no such folder"),
        ("a b/c d", "no such folder"),
    ],
)
def test_names_that_stand_for_nothing(name: str, word: str) -> None:
    with pytest.raises(ModelError, match=word):
        locate(name)


def test_a_file_or_a_revision_of_a_folder(copy: Path) -> None:
    with pytest.raises(ModelError, match="is a file"):
        locate(str(copy / "config.json"))
    with pytest.raises(ModelError, match="no revision"):
        locate(str(copy), "main")


def test_incomplete_folders_say_what_is_missing(copy: Path) -> None:
    (copy / "config.json").unlink()
    with pytest.raises(ModelError, match=r"no config\.json"):
        locate(str(copy))
    (copy / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="is an adapter"):
        locate(str(copy))
    shutil.copy(TINY / "config.json", copy)
    with pytest.raises(ModelError, match="holds an adapter beside the model"):
        locate(str(copy))


def test_a_pickle_beside_safetensors_is_not_touched(copy: Path) -> None:
    (copy / "pytorch_model.bin").write_bytes(b"never read")
    assert locate(str(copy)).identity == locate(str(copy)).identity
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="only pickled weights"):
        locate(str(copy))


def test_a_tokenizer_that_leads_out_is_refused(copy: Path) -> None:
    (copy / "tokenizer.json").unlink()
    (copy / "tokenizer.json").symlink_to("/etc/passwd")
    with pytest.raises(ModelError, match="leads out"):
        locate(str(copy))


def in_cache(cache: Path, name: str, commit: str) -> Path:
    """A model as the hub's client keeps it: blobs, links and a ref."""
    repo = cache / f"models--{name.replace('/', '--')}"
    snapshot = repo / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repo / "blobs").mkdir()
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    for number, path in enumerate(sorted(p for p in TINY.iterdir() if p.is_file())):
        shutil.copy(path, repo / "blobs" / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    return snapshot


def test_offline_takes_the_cache(tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    in_cache(tmp_path / "hub", "someone/model", commit)
    code = (
        "from ftune.model.resolve import locate; from ftune.errors import ModelError\n"
        "found = locate('someone/model'); print(found.commit, found.identity['fingerprint'])\n"
        "for name in ('someone/other', 'gpt2'):\n"
        "    try: locate(name)\n"
        "    except ModelError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ASSETS.parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    first, second, third = done.stdout.splitlines()
    assert first == f"{commit} {locate('ftune:tiny').identity['fingerprint']}"
    assert "someone/other: is not in the hub's cache, and HF_HUB_OFFLINE" in second
    assert third.startswith("gpt2: is not in the hub's cache")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("GatedRepoError", "hf auth login"),
        ("RepositoryNotFoundError", "check the spelling"),
        ("RevisionNotFoundError", "no revision 'dev'"),
        ("LocalEntryNotFoundError", "can't be reached|forbids"),
        ("HFValidationError", "neither a folder here nor a hub id"),
        ("HfHubHTTPError", "could not be downloaded"),
    ],
)
def test_what_the_hub_says_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, name: str, word: str
) -> None:
    import huggingface_hub
    from huggingface_hub import errors

    kind = getattr(errors, name)
    error = kind.__new__(kind)
    Exception.__init__(error, "said by the hub")

    def fail(*arguments: Any, **options: Any) -> None:
        patterns = options["allow_patterns"]
        assert not any(p.endswith((".bin", ".pt", ".py")) for p in patterns)
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(ModelError, match=word):
        hub.fetch("someone/model", "dev", code=False)
