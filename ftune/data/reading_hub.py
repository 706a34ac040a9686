"""Data sets of the Hugging Face hub, and local folders of the same layout, through ``datasets``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ftune import environment
from ftune.errors import DataError
from ftune.run.atomic import sha256
from ftune.types import Row


def rows(source: Any, name: str, after: int = 0) -> Iterator[Row]:
    """The rows of one split behind position ``after``; a Row's number is its position.

    Rows are streamed; where the hub may not be asked, they come from the cache on this disk.

    Raises:
        DataError: the data set, its split or subset can't be read.
    """
    from datasets import load_dataset

    stream = Path(name).is_dir() or not environment.offline()
    number = after
    try:
        found = load_dataset(
            name, source.subset, split=source.split, revision=source.revision, streaming=stream
        )
        for number, value in enumerate(found.skip(after) if after else found, after + 1):
            yield Row(source.path, number, value)
    except GeneratorExit:
        raise
    except Exception as error:  # datasets raises what its file systems and parsers raise
        where = f" behind row {number}" if number else ""
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(
            f"{source.path}: the data set can't be read{where} (split {source.split!r}, subset "
            f"{source.subset!r}): {said}; {_remedy(error, name)}"
        ) from error


def _remedy(error: Exception, name: str) -> str:
    if Path(name).is_dir():
        return (
            "it is a folder: its files must lie as in a data set of the hub (train.jsonl, "
            "test.jsonl); name a file, or check its split and subset"
        )
    if environment.offline():
        return "HF_HUB_OFFLINE is set, so only data sets in the cache can be read; unset it"
    kind = type(error).__name__
    if kind in {"DatasetNotFoundError", "FileNotFoundError"}:
        return "correct its path (owner/name), or log in with `hf auth login` if it is private"
    return "check its split, subset and revision"


def commit(name: str, revision: str | None) -> str:
    """The commit that a hub data set is at, by the hub or, offline, by the cache.

    Raises:
        DataError: neither knows it.
    """
    from huggingface_hub import HfApi, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    if not environment.offline():
        try:
            return str(HfApi().dataset_info(name, revision=revision, timeout=30).sha)
        except Exception as error:  # of the network, the hub, or the id
            said = str(error).strip().partition("\n")[0]
            raise DataError(
                f"{name}: the hub doesn't say which commit it is at ({said}); correct the id or "
                "revision, or set HF_HUB_OFFLINE=1 to use what is in the cache"
            ) from error
    try:
        cached = [r for r in scan_cache_dir().repos if r.repo_id == name and r.repo_type != "model"]
    except CacheNotFound:
        cached = []
    for one in (r for repo in cached for r in repo.revisions):
        if one.commit_hash == revision or (revision or "main") in one.refs:
            return str(one.commit_hash)
    raise DataError(
        f"{name}: is not in the cache, and HF_HUB_OFFLINE is set; fetch it once without, or name "
        "a local file"
    )


def folder_identity(folder: Path, whole: bool = True) -> dict[str, Any]:
    """One sha256 over the names and contents of all files below a folder, and their bytes.

    Without ``whole`` their sizes stand for their contents.
    """
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    told = [(p, sha256(p) if whole else str(p.stat().st_size)) for p in files]
    listing = "".join(f"{p.relative_to(folder).as_posix()}\0{said}\n" for p, said in told)
    return {
        "sha256": hashlib.sha256(listing.encode()).hexdigest(),
        "bytes": sum(p.stat().st_size for p in files),
    }
