"""Reads what a run wrote without ever failing on it: a run may have been killed at any moment.

What can't be read is put into a list of problems, which the report shows as warnings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# Escape sequences of a terminal and the like; a model may well generate them.
_CONTROL = {code: None for code in range(32) if chr(code) not in "\n\t"} | {127: None}
_CONTROL |= dict.fromkeys(range(128, 160))


def read_json(path: Path, problems: list[str]) -> dict[str, Any]:
    """The object in a JSON file; empty if there is no such file or it can't be read."""
    text = _text(path, problems)
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        problems.append(f"{path}: is not whole JSON ({error}), and is left out")
        return {}
    if not isinstance(value, dict):
        problems.append(f"{path}: holds no object, and is left out")
        return {}
    return value


def read_yaml(path: Path, problems: list[str]) -> dict[str, Any]:
    """The mapping in a YAML file that ftune wrote; empty if there is none or it can't be read."""
    import yaml

    text = _text(path, problems)
    if text is None:
        return {}
    try:
        value = yaml.safe_load(text)  # not libyaml's: it crashes on deeply nested text
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problems.append(f"{path}: is not whole YAML ({str(error).splitlines()[0]}), left out")
        return {}
    return value if isinstance(value, dict) else {}


def read_lines(path: Path, problems: list[str]) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file, one at a time; lines that hold none are counted."""
    if not path.is_file():
        return
    bad = 0
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError):
                    bad += bool(line.strip())
                    continue
                if isinstance(value, dict):
                    yield value
                else:
                    bad += 1
    except OSError as error:
        problems.append(f"{path}: can't be read ({error.strerror or error})")
    if bad:
        problems.append(f"{path}: {bad} line{'s' * (bad > 1)} can't be read, and are left out")


def _text(path: Path, problems: list[str]) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        problems.append(f"{path}: can't be read ({error}), and is left out")
        return None


def mapping(value: Any) -> Mapping[str, Any]:
    """``value`` if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> Sequence[Any]:
    """``value`` if it is a list, else an empty one."""
    return value if isinstance(value, list | tuple) else ()


def number(value: Any) -> float | None:
    """``value`` if it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None


def text(value: Any) -> str:
    """``value`` as text that can be shown and written anywhere: no control characters."""
    if value is None:
        return ""
    words = value if isinstance(value, str) else str(value)
    words = words.encode("utf-8", "replace").decode("utf-8")  # half of a surrogate pair
    return words.replace("\r\n", "\n").translate(_CONTROL)


def plain(value: Any) -> Any:
    """``value`` as JSON can hold it: a figure that isn't finite becomes None."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    return value if isinstance(value, bool | int | float) or value is None else str(value)
