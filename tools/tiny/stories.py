"""Plain documents: little stories, talks, letters, lists, records, facts and their retelling."""

# ruff: noqa: E501 -- a sentence pattern stays on one line

import random

from grammar import Scene, a, number_word, plural
from words import WORDS

OPENINGS = """
[Once there was|There once lived|In {town} there was] {ajob} [named|called] {name}. {name} had [a friend|a brother|a sister|a neighbour] [named|called] {name2}.
On {day} {name} went to the {spot} with {name2}. It was [a|one] {weather} day[.| and both of them were {feeling}.]
{name} lived in {town}. {name} was {ajob} and worked at the {spot}[.| every {day}.]
{name} had {numberword} {things}. [All of them|All {numberword} {things}] were {quality} and {colour}.
It was {day}, and {name} was {feeling}. "Why are you {feeling}[?| today?]" asked {name2}.
In {month} {name} came to {town} [to visit|to see|to meet] {name2}. {name2} was {ajob}.
One {weather} {day} {name} found {athing} near the {spot}. The {thing} was {quality}.
{name} and {name2} were [good friends|old friends|neighbours]. {name} had {aanimal}, and {name2} had {aanimal2}.
There was a {quality} {thing} in the {spot}. Nobody knew [whose it was|who had left it there]. {name} [saw it first|was the first to see it].
Every {day} {name} took the {animal} to the {spot}. The {animal} was {colour} and [very |]{quality}.
""".strip().splitlines()

MIDDLES = """
{name} [gave|handed|sold|lent|brought|sent|showed] {name2} {numberword} {things}. {name2} [put|kept|carried] the {numberword} {things} [in the {spot}|in a {quality2} bag|near the door].
"[Where|Do you know where] is the {thing}?" asked {name}. "The {thing} is in the {spot2}," said {name2}.
{name2} wanted the {thing}, but the {thing} was {quality}. So {name} [took|got|found] {athing2} instead. The {thing2} was {colour2}.
"How many {things} [do you have|are there|did you bring]?" asked {name2}. "{number}," said {name}. "{number} {things} [is a lot|are enough|are not enough]," said {name2}.
[Then|After that|A little later|{time}] {name} went from the {spot} to the {spot2}. At the {spot2} [there was|{name} saw|{name} met] {aanimal}.
The {animal} [ate|hid|took|dropped] the {thing}. "Bad {animal}!" said {name}. The {animal} [ran|went] to the {spot2}.
{name} looked for the {thing} in the {spot}, but it was not in the {spot}. Then {name} looked in the {spot2}, and there was the {thing}.
{name2} came from {town2}. "[What is it like|How is the weather] in {town2}?" asked {name}. "In {town2} it is {weather2}," [said|answered] {name2}.
"My name is {name3}," said the {job2}. "Hello, {name3}," said {name}. {name3} the {job2} [smiled|nodded|sat down].
They [agreed|decided] to meet on {day2} at the {spot2}. On {day2} {name} waited at the {spot2}, and [soon |]{name2} came.
{name} bought {athing2} for {name2} and {athing3} for {name3}. {name2} liked the {thing2}, and {name3} liked the {thing3}.
The {colour} {thing} [belonged to|was for] {name}, and the {colour2} {thing} [belonged to|was for] {name2}. {name} [took|wanted] the {colour} one.
First they saw {athing2}, then {athing3}, and [last|at the end] {athing4}. "{athing2}, {athing3} and {athing4}," said {name2}.
{name} wrote a letter to {name3} in {town2}. The letter went from {town} to {town2}. {name3} [read it|got it] on {day2}.
"Please [bring|give|pass] me the {thing2}," said {name2}. {name} [brought|gave|passed] the {thing2} to {name2}. "Thank you, {name}," said {name2}.
{name} paid {numberword} coins for the {thing2}. "Only {number}?" asked {name2}. "Yes, {numberword} coins," said {name}.
""".strip().splitlines()

ENDINGS = """
In the end {name} was {feeling2}, and {name2} was {feeling2} too.
[So|And so] {name} and {name2} went home to {town} with the {thing}.
"Thank you, {name2}," said {name}. "You are welcome, {name}," said {name2}.
[From then on|After that day] {name} never [forgot|lost] the {thing} again.
And every {day} since then {name} goes to the {spot} with {name2}.
That was the story of {name}, {name2} and the {thing}.
{name} slept well that night and dreamed of {athing} in {town}.
The {animal} [slept|lay down] near {name}. It was a good {day}.
""".strip().splitlines()

LETTERS = """
Dear {name}, [I hope you are well.|thank you for your letter.|how are you?] I am in {town} [now|since {day}|until {day}]. It is {weather} here. [I have|I bought] {number} {things} [for you|for the {spot}]. [Please tell {name2} about it.|Say hello to {name2}.|Is {name2} still in {town2}?] Yours, {name3}
Hi {name}! [I saw|I met] {name2} at the {spot} [yesterday|on {day}]. {name2} [asked|told me] about the {thing}. Do you still have the {thing}? [See you soon|Bye], {name3}
Note: the {spot} is closed on {day}. It opens again on {day2} {time}. [Ask|Call] {name} [at the {spot2}|in {town}] for the key.
Dear {name}, the {thing} that I got from you is {quality}. I will send the {thing} back on {day} from {town}. [Kind regards|Best wishes|Yours], {name2}
To all: we meet at the {spot} in {town} on {day} {time}. {name} brings the {things}, {name2} brings the {things2}. {name} and {name2}, [thank you|please be early]!
From {name} to {name2}: I have moved to {town}. My new [house|flat|room] is near the {spot}, number {number}. Come on {day} and bring {name3}.
""".strip().splitlines()


def story(rng: random.Random) -> str:
    """A story of three to six sentences or exchanges about the same few people and things."""
    scene = Scene(rng)
    parts = [rng.choice(OPENINGS), *rng.sample(MIDDLES, rng.randint(1, 4))]
    if rng.random() < 0.6:
        parts.append(rng.choice(ENDINGS))
    return rng.choice((" ", " ", "\n")).join(scene.say(part) for part in parts)


def letter(rng: random.Random) -> str:
    """A letter or a note."""
    return Scene(rng).say(rng.choice(LETTERS))


def shopping(rng: random.Random) -> str:
    """A list, and the same list once more as a sentence, or the other way round."""
    scene = Scene(rng)
    names = rng.sample(WORDS["thing"], rng.randint(2, 5))
    if rng.random() < 0.5:
        names = [f"{rng.randint(2, 30)} {plural(name)}" for name in names]
    else:
        names = [a(name) for name in names]
    bullet = rng.choice("-*")
    lines = "\n".join(f"{bullet} {name}" for name in names)
    spoken = ", ".join(names[:-1]) + " and " + names[-1]
    whose = scene.say("[{name} needs|{name} has|We need|On the table there are|{name} bought]")
    if rng.random() < 0.5:
        return f"{whose}:\n{lines}\n{whose} {spoken}."
    return f"{whose} {spoken}.\n{lines}"


def record(rng: random.Random) -> str:
    """A person as lines of a form and as a sentence."""
    scene = Scene(rng)
    fields = {
        "Name": scene["name"],
        "Age": scene["number"],
        "Town": scene["town"],
        "Job": scene["job"],
        "Pet": scene["animal"],
        "Colour": scene["colour"],
    }
    keys = rng.sample(list(fields), rng.randint(3, 6))
    lines = "\n".join(
        f"{key}: {fields[key]}" for key in ["Name", *(k for k in keys if k != "Name")]
    )
    spoken = scene.say(
        "{name} is {number} years old, lives in {town}, works as {ajob}, has {aanimal} and likes {colour}."
        "|{name}, {ajob} from {town}, is {number} and has {aanimal}. The {animal} of {name} is {colour}."
    )
    spoken = rng.choice(spoken.split("|"))
    return f"{spoken}\n{lines}" if rng.random() < 0.6 else f"{lines}\n{spoken}"


def counting(rng: random.Random) -> str:
    """Numbers in figures and in words, in a row, by sums, or with things."""
    kind = rng.randrange(4)
    start = rng.randint(0, 60)
    if kind == 0:
        return ", ".join(str(start + i) for i in range(rng.randint(4, 14)))
    if kind == 1:
        row = [rng.randint(0, rng.choice((20, 20, 99, 999))) for _ in range(rng.randint(2, 8))]
        join = rng.choice((" is ", " = ", ": "))
        lines = [(number_word(value), str(value)) for value in row]
        order = rng.random() < 0.7
        return "\n".join(join.join(pair if order else pair[::-1]) for pair in lines)
    if kind == 2:
        pairs = [(rng.randint(0, 20), rng.randint(0, 20)) for _ in range(rng.randint(1, 6))]
        return "\n".join(f"{one} + {two} = {one + two}" for one, two in pairs)
    counts = [
        (rng.randint(2, 24), plural(rng.choice(WORDS["thing"]))) for _ in range(rng.randint(1, 4))
    ]
    return " ".join(f"{number_word(n).capitalize()} {t}, that is {n} {t}." for n, t in counts)


def calendar(rng: random.Random) -> str:
    """The order of days and months, and who does what on which day."""
    names = rng.choice((WORDS["day"], WORDS["month"]))
    if rng.random() < 0.5:
        i = rng.randrange(len(names))
        after = names[(i + 1) % len(names)]
        return f"After {names[i]} comes {after}. Before {after} comes {names[i]}."
    scene = Scene(rng)
    days = rng.sample(WORDS["day"], rng.randint(2, 5))
    plan = [(day, scene[f"name{i or ''}"], scene[f"spot{i or ''}"]) for i, day in enumerate(days)]
    text = " ".join(f"On {day} {name} is at the {spot}." for day, name, spot in plan)
    day, name, spot = rng.choice(plan)
    return f"{text} So who is at the {spot} on {day}? {name}."
