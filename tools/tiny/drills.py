"""Questions about a passage and drills in saying a word again, as plain text and as chats."""

# ruff: noqa: E501 -- a sentence pattern stays on one line

import random
from collections.abc import Callable

from grammar import Scene, made_up, number_word
from words import WORDS

FACTS = [
    (
        "{name} [gave|brought|sold|handed] {numberword} {things} to {name2} [on {day}|in {town}].",
        [
            ("Who [got|has] the {things}?", "{name2}"),
            ("How many {things} were there?", "{number}"),
            ("What did {name} give away?", "{numberword} {things}"),
            ("Who had the {things} before {name2}?", "{name}"),
        ],
    ),
    (
        "{name} lives in {town}[ and works as {ajob}|, where it is {weather}|].",
        [("Where does {name} live?", "{town}"), ("Who lives in {town}?", "{name}")],
    ),
    (
        "[On {day}|Last {day}] {name3} went to the {spot} [with {athing2}|{time}|to see {name}].",
        [
            ("Who went to the {spot}?", "{name3}"),
            ("Where did {name3} go?", "to the {spot}"),
            ("[When|On which day] did {name3} go to the {spot}?", "{day}"),
        ],
    ),
    (
        "[The train to {town2}|A letter from {town2}|A bus from {town2}] [came|left|arrived] on {day2}.",
        [("Which town is named?", "{town2}"), ("[When|On which day] was it?", "{day2}")],
    ),
    (
        "There are {number2} {things3} [in|at] the {spot2}[.|, all of them {colour}.|, and they are {quality}.]",
        [
            ("How many {things3} are there?", "{number2}"),
            ("Where are the {things3}?", "[in|at] the {spot2}"),
            ("What is at the {spot2}?", "{number2} {things3}"),
        ],
    ),
    (
        "The {thing4} of {name4} is {colour2}[.| and {quality2}.]",
        [
            ("Whose {thing4} is {colour2}?", "{name4}"),
            ("What colour is the {thing4}?", "{colour2}"),
            ("What is {colour2}?", "the {thing4}"),
        ],
    ),
    (
        '"I [want|need|would like] {athing5}," said {name5}. "[Please|Can you] bring it to {town3}[.|?]"',
        [
            ("What does {name5} want?", "{athing5}"),
            ("Who wants {athing5}?", "{name5}"),
            ("Where should it go?", "{town3}"),
        ],
    ),
    (
        "[We still need|They asked for|The {spot3} ordered|{name6} wrote down] {numberword3} {things6}[ for {town4}|, please| by {day3}|].",
        [
            ("[What|Which thing] is needed?", "{things6}"),
            ("How many {things6} are needed?", "{number3}"),
            ("Say in figures how many {things6}.", "{number3} {things6}"),
        ],
    ),
    (
        "{name7}[, please| please|, could you] [call|visit|help|thank|invite] {name8} [on {day4}|in {town5}|before {day4}][.| and take the {thing7} along.]",
        [
            ("Who is asked to do it?", "{name7}"),
            ("Who is the other person?", "{name8}"),
        ],
    ),
    (
        "The [party|meeting|lesson|game|concert|sale] [is|will be|takes place] [in {town6} on {day5}|on {day5} in {town6}][.|, {time}.| and {name9} will be there.]",
        [
            ("[When|On which day] is it?", "{day5}"),
            ("Where is it?", "in {town6}"),
            ("In which town?", "{town6}"),
        ],
    ),
    (
        "[Last week|In {month}|Yesterday] the {quality3} {animal} of {name10} ran from the {spot4} to {town7}.",
        [
            ("Where did the {animal} run?", "to {town7}"),
            ("Whose {animal} was it?", "{name10}"),
            ("What ran away?", "the {quality3} {animal}"),
        ],
    ),
]

Turns = list[tuple[str, str]]


def facts(rng: random.Random) -> tuple[str, Turns]:
    """A passage of a few facts, and questions about it whose answers are spans of it."""
    scene = Scene(rng)
    chosen = rng.sample(FACTS, rng.randint(1, 4))
    passage = " ".join(scene.say(sentence) for sentence, _ in chosen)
    pairs = [pair for _, pairs in chosen for pair in pairs]
    asked = rng.sample(pairs, min(len(pairs), rng.randint(1, 4)))
    turns = [(scene.say(question), _answer(scene, answer)) for question, answer in asked]
    if rng.random() < 0.12:
        other = rng.choice([fact for fact in FACTS if fact not in chosen])
        unsaid = [question for question, _ in other[1] if "{" in question]
        turns += [(scene.say(question), "not said") for question in unsaid[:1]]
    return passage, turns


def _answer(scene: Scene, pattern: str) -> str:
    """An answer as it stands in the passage; only its first letter may be small again."""
    text = scene.say(pattern)
    return text if pattern.startswith(("{name", "{town", "{day")) else text[:1].lower() + text[1:]


def questions(rng: random.Random) -> str:
    """A passage with questions and answers below it, as plain text."""
    passage, turns = facts(rng)
    ask, reply = rng.choice((("Q: ", "A: "), ("Question: ", "Answer: "), ("", ""), ("- ", "  ")))
    return passage + "".join(f"\n{ask}{question}\n{reply}{answer}" for question, answer in turns)


def words(rng: random.Random, low: int, high: int) -> list[str]:
    """Words that don't belong together: invented ones, things, names, towns, numbers."""
    draws: list[Callable[[], str]] = [
        lambda: made_up(rng),
        lambda: made_up(rng).capitalize(),
        lambda: rng.choice(WORDS["thing"]),
        lambda: rng.choice(WORDS["name"]),
        lambda: rng.choice(WORDS["town"]),
        lambda: str(rng.randint(0, 999)),
    ]
    same = rng.choice(draws)
    mixed = rng.random() < 0.5
    return [(rng.choice(draws) if mixed else same)() for _ in range(rng.randint(low, high))]


def repetition(rng: random.Random) -> str:
    """Words that don't belong together, said twice or more often."""
    row = words(rng, 3, 14)
    join = rng.choice((" ", ", ", "\n", " - "))
    return rng.choice(("\n", " ", "\n\n")).join([join.join(row)] * rng.choice((2, 2, 3)))


def lookup(rng: random.Random) -> str:
    """Pairs of words, then some of the first ones again, each with its partner."""
    left = list(dict.fromkeys(words(rng, 3, 8)))
    kind = rng.choice(("colour", "town", "day", "thing", "name", "small"))
    right = [made_up(rng) if rng.random() < 0.2 else rng.choice(WORDS[kind]) for _ in left]
    form = rng.choice(("{} has {}.", "{}: {}", "{} = {}", "{} goes with {}.", "({}, {})"))
    pairs = [form.format(*pair) for pair in zip(left, right, strict=True)]
    return rng.choice((" ", "\n")).join(pairs + rng.sample(pairs, rng.randint(2, len(pairs))))


def word_task(rng: random.Random) -> tuple[str, str, str]:
    """An instruction about a row of words, the row, and the answer."""
    row = words(rng, 2, 7)
    join = rng.choice((" ", ", "))
    text, number = join.join(row), rng.randint(2, 3)
    return rng.choice(
        [
            (rng.choice(("Repeat this.", "Say it again.", "Copy the text.")), text, text),
            ("Write it in capital letters.", text, text.upper()),
            ("Write it in small letters.", text.upper(), text.lower()),
            (rng.choice(("What is the first word?", "Name the first one.")), text, row[0]),
            (rng.choice(("What is the last word?", "Name the last one.")), text, row[-1]),
            ("Turn the order around.", text, join.join(reversed(row))),
            ("How many are there?", ", ".join(row), str(len(row))),
            ("Write each on a line.", text, "\n".join(row)),
            (f"Say the last one {number_word(number)} times.", text, join.join([row[-1]] * number)),
            ("Put it in quotes.", text, f'"{text}"'),
            ("Leave out the first one.", text, join.join(row[1:])),
        ]
    )


def name_task(rng: random.Random) -> tuple[str, str, str]:
    """An instruction that asks for all words of one kind in a passage."""
    scene = Scene(rng)
    text = scene.say(
        "[{name} and {name2} took the {thing} from {town} to {town2}.|{name} met {name2} in {town} and in {town2}.|"
        "{name} of {town} wrote to {name2} of {town2} about {number} {things}.|"
        "On {day} {name} saw {athing} and {athing2} with {name2}; {town} and {town2} were far away.]"
    )
    found = {"names": ("name", "name2"), "towns": ("town", "town2")}
    kind = rng.choice(list(found))
    order = sorted(found[kind], key=lambda slot: text.find(scene[slot]))
    ask = rng.choice(("List the {}.", "Which {} are in the text?", "Write down all {}."))
    return ask.format(kind), text, ", ".join(scene[slot] for slot in order)


def one_task(rng: random.Random) -> tuple[str, str, str]:
    """A question about a passage in the form of an instruction with a text."""
    passage, turns = facts(rng)
    question, answer = rng.choice(turns)
    return question, passage, answer
