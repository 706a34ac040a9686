"""A scene of remembered words, and the little language in which sentence patterns are written."""

import random
import re

from words import WORDS

CHOICE = re.compile(r"\[([^\[\]]*)\]")
SMALL, TENS = WORDS["small"], WORDS["tens"]
SLOT = re.compile(r"\{(\w+)\}")


def number_word(value: int) -> str:
    """The English words of a number from 0 to 999."""
    if value >= 100:
        rest = f" and {number_word(value % 100)}" if value % 100 else ""
        return f"{SMALL[value // 100]} hundred{rest}"
    if value < 20:
        return SMALL[value]
    rest = f"-{SMALL[value % 10]}" if value % 10 else ""
    return TENS[value // 10 - 2] + rest


def plural(thing: str) -> str:
    """The plural of a noun of the word lists, also of `jar of honey`."""
    head, of, tail = thing.partition(" of ")
    if head.endswith("f"):
        head = head[:-1] + "ves" if head in {"leaf", "loaf"} else head + "s"
    elif head.endswith("fe"):
        head = head[:-2] + "ves"
    elif head.endswith(("s", "x", "ch", "sh", "to")):
        head += "es"
    elif head.endswith("y") and head[-2] not in "aeiou":
        head = head[:-1] + "ies"
    elif head not in {"sheep", "fish", "deer"}:
        head = {"mouse": "mice", "goose": "geese"}.get(head, head + "s")
    return head + of + tail


def a(noun: str) -> str:
    """The noun with `a` or `an` before it."""
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def made_up(rng: random.Random, syllables: int = 0) -> str:
    """A word that no list holds, so that it can only be copied."""
    count = syllables or rng.choice((1, 2, 2, 2, 3))
    parts = ("onset", "vowel", "coda")
    return "".join(rng.choice(WORDS[part]) for _ in range(count) for part in parts)


class Scene:
    """Draws each slot once, so that a pattern which names it again says the same word again."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.said: dict[str, str] = {}
        self.invented = rng.random() < 0.35

    def _draw(self, kind: str) -> str:
        rng = self.rng
        if kind == "odd":
            return made_up(rng)
        if kind == "number":
            return str(rng.choice((rng.randint(2, 12), rng.randint(2, 40), rng.randint(2, 400))))
        if kind in {"name", "town"} and self.invented and rng.random() < 0.6:
            return made_up(rng, 2 if kind == "name" else 0).capitalize()
        if kind in {"thing", "animal", "spot"} and self.invented and rng.random() < 0.15:
            return made_up(rng, 2)
        return rng.choice(WORDS[kind])

    def __getitem__(self, slot: str) -> str:
        """The word of a slot: a kind, a number that tells two of a kind apart, and a form.

        `name2` is a second name, `things` the plural of `thing`, `athing` has its article,
        `numberword` the number in words.
        """
        match = re.fullmatch(r"(?:(a)(?=thing|animal|job))?([a-z]+?)(s(?=\d*$)|word)?(\d*)", slot)
        assert match, slot
        article, kind, form, index = match.groups()
        key = kind + (index or "")
        if key not in self.said:
            taken = {self.said[other] for other in self.said if other.rstrip("0123456789") == kind}
            word = self._draw(kind)
            while word in taken:
                word = self._draw(kind)
            self.said[key] = word
        word = self.said[key]
        if form == "s":
            word = plural(word)
        elif form == "word":
            word = number_word(int(word))
        return a(word) if article else word

    def say(self, pattern: str) -> str:
        """The pattern with one of each `[this|that]` chosen and each `{slot}` filled in."""
        while match := CHOICE.search(pattern):
            chosen = self.rng.choice(match.group(1).split("|"))
            pattern = pattern[: match.start()] + chosen + pattern[match.end() :]
        text = SLOT.sub(lambda match: self[match.group(1)], pattern)
        return text[:1].upper() + text[1:]
