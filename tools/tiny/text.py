"""Writes the synthetic part of the pre-training text: `python text.py --documents 5 --seed 1`."""

import argparse
import random
from collections.abc import Callable, Iterator
from itertools import islice

from drills import facts, lookup, name_task, one_task, questions, repetition, word_task
from retelling import retelling, retelling_task, two_events
from stories import calendar, counting, letter, record, shopping, story

IM_START, IM_END = "<|im_start|>", "<|im_end|>"


def turn(role: str, text: str) -> str:
    """One ChatML message with the line break after it."""
    return f"{IM_START}{role}\n{text}{IM_END}\n"


TASKS = (word_task, one_task, one_task, one_task, name_task, retelling_task, retelling_task)


def task_chat(rng: random.Random) -> str:
    """A chat of one instruction with its text, and the answer."""
    instruction, text, answer = rng.choice(TASKS)(rng)
    gap = rng.choice(("\n", "\n\n", "\n\n"))
    asked = f"{instruction}{gap}{text}" if rng.random() < 0.7 else f"{text}{gap}{instruction}"
    return turn("user", asked) + turn("assistant", answer)


def talk_chat(rng: random.Random) -> str:
    """A chat of several questions about the passage in its first message."""
    passage, turns = facts(rng)
    opening = turn("system", rng.choice(("Answer in few words.", "Be brief.", "Help the user.")))
    chat = opening if rng.random() < 0.2 else ""
    for number, (question, answer) in enumerate(turns):
        asked = question if number else f"{passage}\n{question}"
        chat += turn("user", asked) + turn("assistant", answer)
    return chat


def story_chat(rng: random.Random) -> str:
    """A chat that asks for a story, a letter, a list or a record."""
    kind, make = rng.choice((("story", story), ("letter", letter), ("record", record)))
    asked = rng.choice(("Write a {}.", "Tell me a {}.", "Please write a short {}.")).format(kind)
    return turn("user", asked) + turn("assistant", make(rng))


KINDS: list[tuple[Callable[[random.Random], str], int]] = [
    (story, 18),
    (letter, 8),
    (shopping, 5),
    (record, 5),
    (counting, 6),
    (calendar, 3),
    (questions, 12),
    (repetition, 7),
    (lookup, 7),
    (retelling, 22),
    (two_events, 8),
    (task_chat, 26),
    (talk_chat, 8),
    (story_chat, 2),
]


def documents(seed: int) -> Iterator[str]:
    """Documents without end, the same for the same seed; none knows the begin and end marks."""
    rng = random.Random(seed)
    kinds, weights = zip(*KINDS, strict=True)
    while True:
        yield rng.choices(kinds, weights)[0](rng)


def main() -> None:
    """Prints some documents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    for document in islice(documents(chosen.seed), chosen.documents):
        print(document, end="\n----\n")


if __name__ == "__main__":
    main()
