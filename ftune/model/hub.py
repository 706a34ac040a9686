"""Models of the hub: downloaded once, taken from the cache when offline."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ftune import environment
from ftune.errors import ModelError

ALLOWED = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")
# Subfolders hold other forms of the same weights, and consolidated* is Mistral's second copy.
IGNORED = ("*/*", "consolidated*.safetensors", "*.bin.index.json")


def fetch(name: str, revision: str | None, code: bool) -> Path:
    """The folder of a snapshot of ``name`` in the hub's cache; its name is the commit.

    Args:
        name: hub id.
        revision: branch, tag or commit; None for the main branch.
        code: fetch the model's own Python files too.

    Raises:
        ModelError: it is not there, not permitted, or can't be reached; says what to do.
    """
    from huggingface_hub import errors, snapshot_download

    patterns = [*ALLOWED, "*.py"] if code else list(ALLOWED)
    where = f"{name} at {revision}" if revision else name
    try:
        folder = snapshot_download(
            name, revision=revision, allow_patterns=patterns, ignore_patterns=list(IGNORED)
        )
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{name}: its owner asks you to agree to terms first: open "
            f"https://huggingface.co/{name}, accept them, and log in with `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(f"{name}: has no revision {revision!r} on the hub") from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(
            f"{name}: is neither a folder here nor a model on the hub; check the spelling, or, "
            "if it is private, log in with `hf auth login`"
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise ModelError(_unreachable(where)) from error
    except errors.HFValidationError as error:
        raise ModelError(f"{name!r} is neither a folder here nor a hub id: {error}") from error
    except Exception as error:  # the hub's HTTP library, and so its errors, changes by version
        raise ModelError(f"{where}: could not be downloaded ({_first_line(error)})") from error
    return Path(folder)


def _unreachable(where: str) -> str:
    if environment.offline():
        return (
            f"{where}: is not in the hub's cache, and HF_HUB_OFFLINE forbids asking the hub; "
            "download it once online, or give a local folder"
        )
    return (
        f"{where}: is not in the hub's cache and the hub can't be reached; check the network, "
        "or give a local folder"
    )


def pickled_only(name: str, revision: str | None) -> str | None:
    """The name of a pickled weights file if the hub lists one; None if it can't be asked."""
    if environment.offline():
        return None
    from huggingface_hub import HfApi

    with contextlib.suppress(Exception):  # only to word a message that is due anyway
        listed = HfApi().list_repo_files(name, revision=revision)
        return next((f for f in listed if f.endswith((".bin", ".pt", ".pth", ".ckpt"))), None)
    return None


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).strip().partition("\n")[0]
