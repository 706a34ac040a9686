"""One event told several times in other words, so that every word of it has to be found again."""

# ruff: noqa: E501 -- a sentence pattern stays on one line

import random

from grammar import Scene

WHOLE = """
On {day} {name} [took|carried|sent|brought] {numberword} {things} [from {spot} |]to {name2} in {town}.
{name2} [got|received|was given] {numberword} {things} from {name} [when they met |]in {town} on {day}.
In {town}, {name} sold {numberword} {things} to {name2}. [That was|It happened] on {day}.
"I have {numberword} {things} for you, {name2}," said {name} on {day} in {town}.
There were {numberword} {things} [in the cart|in the van|on the boat] to {town} on {day}. {name} had packed them, and {name2} was to get them.
{name} will be in {town} on {day} and [will give|wants to give] {name2} {numberword} {things}.
It was {day} in {town} when {name} [lent|gave|showed] {name2} {numberword} {things}.
"{name}, [where|who] are the {things}?" [asked|said] {name2}. "All {numberword} {things} came to {town} on {day}."
Before {day}, {name} must find {numberword} {things}. {name2} [needs|wants] them in {town}.
{numberword} {things}, {day}, {town}: that is what {name} wrote to {name2}.
{name2} [lives|is] in {town}. {name} [came|went] there on {day} with {numberword} {things}.
[Nobody knew why|It is strange that|I heard that|They say that] {name} [bought|made|found] {numberword} {things} in {town} on {day} for {name2}.
""".strip().splitlines()

PARTS = """
[It was about|There were|We count] {number} {things}.
[The number is|How many? It was] {number}.
[The {things} were for|The one who got them was|They went to] {name2}.
[All this was in|The town was|The place is called] {town}.
[It was|The day was|That happened on|It took place on] {day}.
[The giver was|They came from|It was the idea of] {name}.
{number} {things} [in all|were there].
{name} and {name2} were in {town} on {day}.
On {day} it was, and in {town}.
For {name2}: {things}.
From {name} to {name2}.
In {town} on {day}.
""".strip().splitlines()

LINKS = """
In other words:|That means:|In short:|So:|Once more:|Again:|To say it otherwise:|What do we know?
""".strip().split("|")


def retold(rng: random.Random) -> tuple[str, str]:
    """An event, and the same event in other words or in short sentences."""
    scene = Scene(rng)
    first, second = rng.sample(WHOLE, 2)
    if rng.random() < 0.4:
        return scene.say(first), scene.say(second)
    parts = rng.sample(PARTS, rng.randint(2, 6))
    return scene.say(first), " ".join(scene.say(part) for part in parts)


def retelling(rng: random.Random) -> str:
    """An event as plain text, told two or three times."""
    first, second = retold(rng)
    return f"{first} {rng.choice(LINKS)} {second}"


def retelling_task(rng: random.Random) -> tuple[str, str, str]:
    """An instruction to say a text in other words, the text, and the answer."""
    first, second = retold(rng)
    ask = rng.choice(
        ("Say it in other words.", "Tell it again.", "What happened? Be brief.", "Retell this.")
    )
    return ask, first, second


def two_events(rng: random.Random) -> str:
    """Two events by different people, each retold, so that the right one has to be found."""
    (one, again), (two, again2) = retold(rng), retold(rng)
    return f"{one}\n{two}\n{again}\n{again2}"
