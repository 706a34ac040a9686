"""Small changes to a question that leave its meaning as it is.

They follow those of HELM: Liang et al. 2022, "Holistic Evaluation of Language Models",
https://arxiv.org/abs/2211.09110, appendix D. HELM's keyboard has the keys above and below too, its
list of contractions is longer, and its main figure mixes several kinds with common misspellings, so
figures are not to be compared with its. What is drawn is drawn from a seed for each row, so that
every model is asked the same.
"""

from __future__ import annotations

import re
from functools import partial
from random import Random

TYPO = 0.1  # of the letters, each with this chance
SPACES = 3  # at most so many for one
ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
VERBS = (
    *("is", "are", "was", "were", "do", "does", "did", "have", "has", "had"),
    *("could", "would", "should", "must", "might", "need"),
)
ENDINGS = (
    *(("I am", "I'm"), ("you are", "you're"), ("we are", "we're"), ("they are", "they're")),
    *(("it is", "it's"), ("that is", "that's"), ("there is", "there's"), ("what is", "what's")),
    *(("he is", "he's"), ("she is", "she's"), ("who is", "who's"), ("where is", "where's")),
    *((f"{who} will", f"{who}'ll") for who in ("I", "you", "he", "she", "it", "we", "they")),
    *((f"{who} have", f"{who}'ve") for who in ("I", "you", "we", "they")),
    *(("cannot", "can't"), ("can not", "can't"), ("will not", "won't"), ("shall not", "shan't")),
    *((f"{verb} not", f"{verb}n't") for verb in VERBS),
)


def perturbed(text: str, kind: str, seed: str) -> str:
    """``text`` with one kind of changes.

    ``typos``: each letter is, with a chance of one in ten, one beside it on the keyboard;
    ``casing``: all in lower case; ``whitespace``: one to three blanks for each run of blanks;
    ``contractions``: "is not" becomes "isn't" where a word follows; ``expansions``: the other way.
    """
    draw = Random(f"{kind}:{seed}")
    if kind == "typos":
        return "".join(_typo(letter, draw) for letter in text)
    if kind == "casing":
        return text.lower()
    if kind == "whitespace":
        return re.sub(r" +", lambda _: " " * draw.randint(1, SPACES), text)
    shorter = kind == "contractions"
    pairs = ENDINGS if shorter else [(b, a) for a, b in ENDINGS]
    follows = r"(?= )" if shorter else ""  # "Yes, it is." stays as it is
    for old, new in pairs:
        text = re.sub(rf"\b{re.escape(old)}\b{follows}", partial(_cased, new), text, flags=re.I)
    return text


def _typo(letter: str, draw: Random) -> str:
    """The letter, or one left or right of it, in its case."""
    row = next((row for row in ROWS if letter.lower() in row), "")
    if not row or draw.random() >= TYPO:
        return letter
    at = row.index(letter.lower())
    other = draw.choice([row[i] for i in (at - 1, at + 1) if 0 <= i < len(row)])
    return other.upper() if letter.isupper() else other


def _cased(new: str, found: re.Match[str]) -> str:
    """``new``, beginning as what it replaces began."""
    first = found.group()[0]
    return (first.upper() if first.isupper() else first.lower()) + new[1:]
