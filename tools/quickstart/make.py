"""Writes the quickstart data: everyday messages and the one-line record that each asks for.

    python tools/quickstart/make.py --out ftune/assets/quickstart

The same bytes come out every time. No message and no (item, for, place, day) stands in two splits;
the test split also draws items, people and places that the other two never do.
"""

# ruff: noqa: E501 -- a sentence pattern stays on one line

import argparse
import json
import random
import re
from pathlib import Path

SEED = 2718
SIZES = {"test": 120, "eval": 80, "train": 640}
NEW_WORDS_IN_TEST = 0.3  # the chance that one value of a test row is new

NUMBERS = {
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "eleven": 11,
    "twelve": 12,
    "fifteen": 15,
    "twenty": 20,
    "thirty": 30,
    "forty": 40,
    "fifty": 50,
    "a dozen": 12,
    "a couple of": 2,
}

CHOICE = re.compile(r"\[([^\[\]]*)\]")

# {what}: amount and item; {who}, {place}, {day}: the other fields, each left out where a pattern
# lacks it. A field in which the message says nothing is "-" in the record.
MESSAGES = """
[Could|Can|Would] you [please |]bring {what} to {who} in {place} [on|by|before] {day}?
[Please|Kindly] [send|ship|post] {what} to {who} in {place} [by|on|before] {day}.
{who} [needs|wants|asked for|would like] {what} in {place} [by|on] {day}.
[We need|There must be] {what} for {who} [at|in] {place} [on|by] {day}[.|, please.]
[I promised|We promised] {who} {what}. [It is all|Everything is] due in {place} [on|by] {day}.
[Don't forget|Remember|Keep in mind]: {what} for {who}, {place}, {day}.
[On|By|Before] {day}, {what} [must|should|have to] be in {place} for {who}.
[On|By] {day} [somebody|someone|one of us] has to [take|carry|drive] {what} to {place} for {who}.
In {place}, {who} [is waiting|waits] for {what}[, needed|, to come| that should arrive] [on|by] {day}.
[Order|Get|Buy] {what} for {who} and have [them|it all|everything] delivered to {place} [on|by] {day}.
{day} [would be|is] [fine|good|best] for the delivery of {what} to {who} in {place}.
[Is there any chance|Is it possible] that {who} gets {what} in {place} [on|by] {day}?
[I told|I said to] {who} that {what} [would come|would be there] [on|by] {day}; the address is {place}.
[Delivery to|To] {place}, [for|care of] {who}: {what}, [on|not later than|until] {day}.
[Let's|We should] surprise {who} with {what} [on|this] {day} in {place}.
[I am|We are] in {place} with {who} [on|from] {day} and [we need|could use|need] {what}.
[This is|It's] for {who}: {what}, to be [left|dropped off|handed over] at {place} [on|by] {day}.
[Put|Set aside|Reserve] {what} for {who}[, please|]. [They go|It goes] to {place} [on|this] {day}.
{who} called from {place} and [asked for|ordered|wants] {what} [for|by] {day}.
[My list for|The plan for] {day}: take {what} to {who} in {place}.
[We are out of stock in|Nothing is left in] {place}, so {who} [needs|asks for] {what} [by|on] {day}.
[Could|Can] {who} [have|get] {what}? [We meet|See you|The party is] in {place} [on|this] {day}.
[Whatever happens|No matter what], {what} must reach {who} in {place} [before|by|on] {day}.
[Sorry for the rush|It is urgent], but {who} needs {what} in {place} [by|on] {day}.
[Could|Can|Would] you [please |]bring {what} to {who} [on|by|before] {day}?
[Please|Kindly] [send|hand|give] {who} {what} [by|on|before] {day}.
{who} [needs|wants|asked for|would like] {what} [by|on] {day}[.|, no matter where.]
[Get|Buy|Find] {what} for {who} [by|on|before] {day}[.|, please.]
[Could|Can|Would] you [take|bring|send] {what} to {who} in {place}[?|, please?]
{who} in {place} [is waiting|waits|asked] for {what}[.|, any day will do.]
[There is|We have] room for {what} [at|in] {place}, all of it for {who}.
[Please|Kindly] [take|bring|carry] {what} to {place} [by|on|before] {day}.
[Somebody|Someone] [has to|must] bring {what} to {place} [on|by] {day}.
[We need|They need] {what} [at|in] {place} [by|on] {day}[.|, please.]
[We need|I want|Get me|Order] {what} [by|on|before] {day}[.|, please.]
[Send|Ship|Take] {what} to {place}[.|, please.|, whenever you can.]
{who} [wants|needs|asked for] {what}[.|, but there is no hurry.]
""".strip().splitlines()


def read_words() -> dict[str, list[str]]:
    """The lists of words.txt by name."""
    lists: dict[str, str] = {}
    for line in Path(__file__).with_name("words.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            name = line.strip("[]")
            lists[name] = ""
        elif line and not line.startswith("#"):
            lists[name] += line
    return {name: text.split("|") for name, text in lists.items()}


WORDS = read_words()


def draw(rng: random.Random, kind: str, fresh: bool) -> str:
    """One of the usual words of a kind, or for the test split now and then a new one."""
    new = fresh and rng.random() < NEW_WORDS_IN_TEST
    return rng.choice(WORDS[f"new_{kind}" if new else kind])


def goods(rng: random.Random, fresh: bool) -> tuple[str, str, str]:
    """An item, its amount as the record has it, and both as the message says them."""
    said, number = rng.choice(list(NUMBERS.items()))
    if rng.random() < 0.3:
        number = rng.randint(2, 60)
        said = str(number)
    if rng.random() < 0.4:
        item = draw(rng, "pieces", fresh)
        return item, str(number), f"{said} {item}"
    item, units = draw(rng, "goods", fresh).split(":")
    unit = rng.choice(units.split())
    return item, f"{number} {unit}", f"{said} {unit} of {item}"


def choose(rng: random.Random, pattern: str) -> str:
    """The pattern with one of each `[this|that]`."""
    while match := CHOICE.search(pattern):
        chosen = rng.choice(match.group(1).split("|"))
        pattern = pattern[: match.start()] + chosen + pattern[match.end() :]
    return pattern


def row(rng: random.Random, fresh: bool) -> tuple[dict[str, str], tuple[str, ...]]:
    """One row, and the (item, for, place, day) that tells it from others."""
    item, amount, what = goods(rng, fresh)
    fields = {
        "who": draw(rng, "people", fresh),
        "place": draw(rng, "places", fresh),
        "day": rng.choice(WORDS["days"]),
    }
    pattern = choose(rng, rng.choice(MESSAGES))
    if fields["day"] == "tomorrow":
        pattern = re.sub(r"\b(on|this|On) \{day\}", "{day}", pattern)
    message = pattern.format(what=what, **fields)
    message = message[0].upper() + message[1:]
    if rng.random() < 0.25:
        message = f"{rng.choice(WORDS['before'])} {message}"
    if rng.random() < 0.25:
        message = f"{message} {rng.choice(WORDS['after'])}"
    who, place, day = (fields[k] if f"{{{k}}}" in pattern else "-" for k in fields)
    record = f"item: {item} | amount: {amount} | for: {who} | place: {place} | day: {day}"
    instruction = rng.choice(WORDS["instructions"])
    return {"instruction": instruction, "input": message, "output": record}, (item, who, place, day)


def make() -> dict[str, list[dict[str, str]]]:
    """The rows of each split."""
    rng = random.Random(SEED)
    messages: set[str] = set()
    combinations: set[tuple[str, ...]] = set()
    splits: dict[str, list[dict[str, str]]] = {}
    for name, size in SIZES.items():
        rows: list[dict[str, str]] = []
        while len(rows) < size:
            made, combination = row(rng, fresh=name == "test")
            if made["input"] not in messages and combination not in combinations:
                messages.add(made["input"])
                combinations.add(combination)
                rows.append(made)
        splits[name] = rows
    return splits


def write(out: Path) -> None:
    """Writes train.jsonl, eval.jsonl and test.jsonl."""
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in make().items():
        lines = "".join(json.dumps(made, ensure_ascii=False) + "\n" for made in rows)
        (out / f"{name}.jsonl").write_bytes(lines.encode("utf-8"))


def main() -> None:
    """Reads the argument and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the three files")
    write(parser.parse_args().out)


if __name__ == "__main__":
    main()
