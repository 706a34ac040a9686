"""The word lists of words.txt, by name."""

from pathlib import Path


def read() -> dict[str, list[str]]:
    """Each list of the file; an empty entry is the empty word."""
    lists: dict[str, str] = {}
    for line in Path(__file__).with_name("words.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            name = line.strip("[]")
            lists[name] = ""
        elif line and not line.startswith("#"):
            lists[name] += line
    return {name: text.split("|") for name, text in lists.items()}


WORDS = read()
