"""What a judge is asked, and the answers it may give."""

from __future__ import annotations

CHOICES = {1: " 1", 2: " 2", 0: " 3"}  # verdict -> what the judge would write
QUESTION = """\
Two assistants answered the same question. Compare how helpful, correct and complete their answers \
are. Their order says nothing, and neither does their length.

### Question
{question}

### Answer of assistant 1
{first}

### Answer of assistant 2
{second}

### Verdict
{ask}"""
BRIEF = "Which answer is better: 1, 2, or 3 if they are equally good? The better answer is number"
AT_LENGTH = (
    "Explain your comparison in a few sentences. Then write a last line with nothing but a number: "
    "1 if the answer of assistant 1 is better, 2 if that of assistant 2 is, 3 if they are equally "
    "good."
)


def choices(in_turns: bool) -> dict[int, str]:
    """What the judge would write for each verdict: behind the question's last word a blank stands
    before it, and where a chat template gives the judge a turn of its own, none does."""
    return {verdict: text.strip() if in_turns else text for verdict, text in CHOICES.items()}


def asked(question: str, first: str, second: str, explain: bool) -> str:
    """The prompt, for a verdict by likelihood or for one at the end of an explanation."""
    ask = AT_LENGTH if explain else BRIEF
    return QUESTION.format(question=question, first=first, second=second, ask=ask)
