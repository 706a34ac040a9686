"""Text -> token ids, so that a mask boundary is a token boundary and content holds no special id.

A text is encoded in runs. A run ends at each special token of the template and where trained text
begins or ends; within a run the ids are the tokenizer's own. Two things of a tokenizer depend on
where a text stands and are taken care of: it recognises special tokens, which it may not do in
people's words, and it may put a space before a text, which it may not do in the middle of one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ftune.errors import ModelError


@dataclass(frozen=True, slots=True)
class Run:
    """A text to encode; ``prefix`` says whether the tokenizer may put its space before it."""

    text: str
    prefix: bool


class Encoder:
    """Encodes for one tokenizer.

    Attributes:
        opening: ids that the tokenizer puts before a text by itself: a BOS, or nothing.
        eos: the end mark's text; None if the tokenizer has none.
        special: ids that no content may hold.
        prefix_after_mark: whether the tokenizer puts its space after a special token too.
    """

    def __init__(self, tokenizer: Any, reserved: Iterable[str] = ()) -> None:
        """``reserved`` are texts of the template that, if they are tokens, content may not spell.

        Raises:
            ModelError: the tokenizer has no tokenizer.json, and so can't keep content apart.
        """
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ModelError(
                f"the tokenizer of {tokenizer.name_or_path} is not a fast one; save it with a "
                "tokenizer.json (AutoTokenizer.from_pretrained(...).save_pretrained(...)) first"
            )
        layout = json.loads(backend.to_str())
        layout["truncation"] = layout["padding"] = None
        added = layout["added_tokens"]
        hidden = {a["content"] for a in added if a["special"]} & set(tokenizer.get_vocab())
        hidden |= {a["content"] for a in added if a["content"] in set(reserved)}
        for token in added:
            token["special"] = token["content"] in hidden
        self._prefixed = _copy(layout)
        bare = _without_prefix(layout)
        self._bare = _copy(bare) if bare != layout else self._prefixed
        self._marks = {a["content"]: a for a in added}
        self._hidden = hidden
        longest = sorted(self._marks, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest))) if longest else None
        self.eos: str | None = tokenizer.eos_token
        self.special = frozenset(self._marks[h]["id"] for h in hidden) - {tokenizer.unk_token_id}
        self.opening = _opening(tokenizer)
        self.prefix_after_mark = self._probe(tokenizer)

    def _probe(self, tokenizer: Any) -> bool:
        """Whether the tokenizer encodes a text behind a special token as it does at the start."""
        mark = next((h for h in self._hidden if not self._marks[h]["normalized"]), None) or next(
            iter(self._hidden), None
        )
        if mark is None or self._bare is self._prefixed:
            return False
        whole = tokenizer(mark + "a", add_special_tokens=False)["input_ids"]
        return whole[1:] == self._prefixed.encode("a", add_special_tokens=False).ids

    def id_of(self, text: str) -> int | None:
        """The id of an added token that is spelled ``text``; None if there is none."""
        mark = self._marks.get(text)
        return None if mark is None else int(mark["id"])

    def pieces(self, text: str) -> list[str | int]:
        """A template's text as plain texts and the ids of the tokens that it spells."""
        found: list[str | int] = []
        end, strip = 0, False
        for match in self._pattern.finditer(text) if self._pattern else ():
            mark = self._marks[match[0]]
            plain = text[end : match.start()]
            plain = plain.lstrip() if strip else plain
            found += [plain.rstrip() if mark["lstrip"] else plain, int(mark["id"])]
            end, strip = match.end(), mark["rstrip"]
        found.append(text[end:].lstrip() if strip else text[end:])
        return [piece for piece in found if piece != ""]

    def swallows(self, token: int) -> bool:
        """Whether the tokenizer drops white space behind this token."""
        return any(m["rstrip"] for m in self._marks.values() if m["id"] == token)

    def split(self, texts: Sequence[Any], words: bool = False) -> list[Any]:
        """The tokenizers' Encoding of each text, with no marks around it and none spelled in it.

        With ``words`` a text is a list of words, and its Encoding knows which word a token is of.
        """
        return list(
            self._prefixed.encode_batch(
                list(texts), is_pretokenized=words, add_special_tokens=False
            )
        )

    def framed(self, first: Any, second: Any | None = None) -> Any:
        """One Encoding of one or two from ``split``, with the marks that the tokenizer adds."""
        return self._prefixed.post_process(first, second)

    def marks(self, pair: bool) -> int:
        """How many tokens ``framed`` adds."""
        return int(self._prefixed.num_special_tokens_to_add(pair))

    def encode(self, runs: Sequence[Run]) -> list[list[int]]:
        """The ids of each run; none of them is a special one."""
        found: list[list[int]] = [[]] * len(runs)
        for prefix, backend in ((True, self._prefixed), (False, self._bare)):
            at = [i for i, run in enumerate(runs) if run.prefix is prefix and run.text]
            texts = [runs[i].text for i in at]
            for i, done in zip(
                at, backend.encode_batch_fast(texts, add_special_tokens=False), strict=True
            ):
                found[i] = done.ids
        for i, ids in enumerate(found):
            if not self.special.isdisjoint(ids):
                found[i] = self._broken(runs[i])
        return found

    def offsets(self, run: Run) -> list[tuple[int, int]]:
        """For each id of the run, the characters of its text that it stands for."""
        backend = self._prefixed if run.prefix else self._bare
        done = backend.encode(run.text, add_special_tokens=False)
        if not self.special.isdisjoint(done.ids):
            return [(0, len(run.text))] * len(self._broken(run))
        return list(done.offsets)

    def _broken(self, run: Run) -> list[int]:
        """For vocabularies that spell a special token by themselves: its text is encoded in two."""
        ids: list[int] = []
        pattern = "|".join(re.escape(h) for h in sorted(self._hidden, key=len, reverse=True))
        ends = [m.start() + 1 for m in re.finditer(f"(?={pattern})", run.text)]
        start = 0
        for end in [*ends, len(run.text)]:
            backend = self._prefixed if run.prefix and start == 0 else self._bare
            ids += backend.encode(run.text[start:end], add_special_tokens=False).ids
            start = end
        if self.special.isdisjoint(ids):
            return ids
        raise ModelError(
            f"the tokenizer turns the text {run.text[:80]!r} into a special token, and so can't "
            "keep people's words apart from marks; use another tokenizer"
        )


def _copy(layout: dict[str, Any]) -> Any:
    from tokenizers import Tokenizer

    backend = Tokenizer.from_str(json.dumps(layout))
    backend.encode_special_tokens = True
    return backend


def _without_prefix(part: Any) -> Any:
    """The tokenizer's layout without the steps that put a space before a text."""
    if isinstance(part, list):
        kept = [p for p in part if not (isinstance(p, dict) and p.get("type") == "Prepend")]
        return [_without_prefix(p) for p in kept]
    if not isinstance(part, dict):
        return part
    kind = part.get("type")
    changed = dict(part)
    if kind is None:  # the whole file
        for name in ("normalizer", "pre_tokenizer"):
            step = part[name]
            alone = isinstance(step, dict) and step.get("type") == "Prepend"
            changed[name] = None if alone else _without_prefix(step)
    elif kind == "Sequence":
        changed = {k: _without_prefix(v) if isinstance(v, list) else v for k, v in part.items()}
    elif kind == "Metaspace":
        changed["prepend_scheme"] = "never"
    elif kind == "ByteLevel":
        changed["add_prefix_space"] = False
    return changed


def _opening(tokenizer: Any) -> tuple[int, ...]:
    """What the tokenizer puts before each text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    for start in range(len(whole) - len(bare) + 1):
        if whole[start : start + len(bare)] == bare:
            return tuple(whole[:start])
    return ()
