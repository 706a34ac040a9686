"""Plain words for what pydantic finds wrong with a value."""

from __future__ import annotations

import difflib
import re
from typing import Any

from ftune.recipe.scalars import plain_scalar

EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "model_type": "keys",
    "model_attributes_type": "keys",
    "dict_type": "keys",
    "none_required": "null",
}
BOUNDS = {
    "greater_than": ("gt", "above", "larger"),
    "greater_than_equal": ("ge", "at least", "larger"),
    "less_than": ("lt", "below", "smaller"),
    "less_than_equal": ("le", "at most", "smaller"),
}
WORDS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
SPELLINGS = (
    ("bfloat16", "bf16", "torch.bfloat16"),
    ("float16", "fp16", "half", "torch.float16"),
    ("float32", "fp32", "full", "float", "torch.float32"),
    ("adamw_torch", "adam", "adamw", "adamw_hf", "adamw_torch_fused"),
    ("adamw_8bit", "adamw_bnb_8bit"),
    ("flash_attention_2", "flash", "flash_attn", "flash_attention", "fa2"),
    ("truncate", "truncation"),
    ("no", "none", "false", "off"),
)


def shown(value: Any) -> str:
    """A value as a message shows it, never long."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"text {value!r}" if len(value) <= 60 else f"text {value[:57]!r}..."
    if isinstance(value, tuple):
        return "a list" if value else "an empty list"
    return "keys"


def wrong_type(kinds: list[str], value: Any, keys: tuple[str, ...] = ()) -> str:
    """``must be a number, got text 'x'; what to do`` for the error types of one value.

    ``keys`` are those of the section that the value, or each entry of it, should be.
    """
    expected = " or ".join(dict.fromkeys(EXPECTED[k] for k in kinds))
    remedy = _remedy(kinds, value)
    if keys and "a list" in expected and not isinstance(value, dict) and value is not None:
        remedy = f"write [{{{', '.join(f'{k}: ...' for k in keys[:2])}}}]"
    return f"must be {expected}, got {shown(value)}; {remedy}"


def _remedy(kinds: list[str], value: Any) -> str:
    """What to do about a value of the wrong type."""
    wanted = {EXPECTED[k] for k in kinds}
    if value is None:
        under = "indent its keys under it" if "keys" in wanted else "write a value"
        return f"{under} or remove the line"
    if "keys" in wanted:
        if isinstance(value, str) and re.match(r"[\w.]+:\S", value):
            return "put a space after the ':'"
        return "remove the '- '" if isinstance(value, tuple) else "write its keys under it"
    if "text" in wanted and isinstance(value, bool | int | float):
        return "put quotes around it"
    if "a list" in wanted:
        return (
            "put '- ' before its first key"
            if isinstance(value, dict)
            else f"write [{_bare(value)}]"
        )
    if isinstance(value, str):
        return _instead_of_text(wanted, value)
    if "a whole number" in wanted and isinstance(value, float):
        return f"write {value:.0f}" if value.is_integer() else "leave out the fraction"
    if "true or false" in wanted:
        return "write one of them"
    return f"write {expected_example(wanted)}"


def _instead_of_text(wanted: set[str], value: str) -> str:
    """What to write instead of a text."""
    if "true or false" in wanted:
        word = WORDS.get(value.lower()) or (
            value.lower() if value.lower() in WORDS.values() else ""
        )
        return f"write {word} without quotes" if word else "write true or false"
    try:
        number = plain_scalar(value.strip())
        if isinstance(number, str):
            number = int(number.replace(",", ""))
    except ValueError:
        return f"write {expected_example(wanted)}"
    if number is None or isinstance(number, bool):
        return f"write {expected_example(wanted)}"
    same = str(number) == value or isinstance(number, float)
    return f"write {value.strip() if same else number} without quotes"


def expected_example(wanted: set[str]) -> str:
    """The wanted kinds in words."""
    return " or ".join(sorted(wanted))


def _bare(value: Any) -> str:
    return value if isinstance(value, str) else str(value).lower()


def near(value: Any, choices: list[str]) -> str | None:
    """The choice that was probably meant."""
    text = _bare(value)
    for names in SPELLINGS:
        meant = [c for c in choices if c in names]
        if text.lower() in names and meant:
            return meant[0]
    return next(iter(difflib.get_close_matches(text, choices, n=1, cutoff=0.6)), None)


def wrong_value(error: Any) -> str:
    """What is wrong and what to do, for an error of pydantic that is not about the type."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "literal_error":
        found = re.findall(r"'([^']*)'|\b(True|False|None|\d+)\b", context["expected"])
        choices = [text or word.lower() for text, word in found]
        meant = near(value, choices)
        if meant and _bare(value) == meant:
            hint = f"write {meant} without quotes" if value == meant else "put quotes around it"
        else:
            hint = f"did you mean {meant}?" if meant else "write one of them"
        if meant == "no" and value != "no":
            hint = 'write "no"'
        return f"must be one of {', '.join(choices)}, got {shown(value)}; {hint}"
    if kind in BOUNDS:
        name, word, size = BOUNDS[kind]
        bound = context[name]
        bound = int(bound) if float(bound).is_integer() else bound
        return f"must be {word} {bound}, got {shown(value)}; write a {size} number"
    if kind in ("string_too_short", "too_short"):
        unit = "characters" if kind == "string_too_short" else "entries"
        if not value:
            return "is empty; " + ("write a text" if value == "" else "add an entry")
        return f"has fewer than {context['min_length']} {unit}; add some"
    if kind in ("string_too_long", "too_long"):
        unit = "characters" if kind == "string_too_long" else "entries"
        return f"has more than {context['max_length']} {unit}; shorten it"
    if kind == "finite_number":
        return "must be finite; write a smaller number"
    if kind == "value_error":
        return str(context["error"])
    text = error["msg"]
    return f"is not right ({text[:1].lower()}{text[1:]}); correct it"
