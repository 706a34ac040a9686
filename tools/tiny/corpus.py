"""Blocks of pre-training tokens: the generator's documents mixed with a few free sources."""

import json
import random
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from text import documents, turn
from tokenizers import Tokenizer

BLOCK_TOKENS = 2_000_000
REAL_SHARE = 0.15
HELD_OUT_SYNTHETIC_SEED = 999_999_937


def shakespeare(data: Path) -> list[str]:
    """Speeches of tinyshakespeare, joined to pieces of 400 to 800 characters."""
    speeches = (data / "tinyshakespeare" / "input.txt").read_text("utf-8").split("\n\n")
    pieces, piece = [], ""
    for speech in speeches:
        piece = f"{piece}\n\n{speech}" if piece else speech
        if len(piece) > 400:
            pieces.append(piece[:800])
            piece = ""
    return pieces


def gsm8k(data: Path) -> list[str]:
    """Training problems of GSM8K without calculator marks, every second one as a chat."""
    rows = (data / "gsm8k" / "train.jsonl").read_text("utf-8").splitlines()
    texts = []
    for number, line in enumerate(rows):
        row = json.loads(line)
        answer = re.sub(r"<<[^>]*>>", "", row["answer"]).replace("####", "The answer is")
        if number % 2:
            texts.append(turn("user", row["question"]) + turn("assistant", answer))
        else:
            texts.append(f"{row['question']}\n{answer}")
    return texts


def seeds(data: Path) -> list[str]:
    """Instances of the self-instruct seed tasks as chats."""
    rows = (data / "self-instruct" / "seed_tasks.jsonl").read_text("utf-8").splitlines()
    texts = []
    for row in map(json.loads, rows):
        for case in row["instances"]:
            asked = row["instruction"] + ("\n\n" + case["input"] if case["input"] else "")
            texts.append(turn("user", asked[:1200]) + turn("assistant", case["output"][:800]))
    return texts


SOURCES = {"tinyshakespeare": shakespeare, "gsm8k": gsm8k, "self-instruct": seeds}


def split(data: Path) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Each source's documents for training, and the one in forty that is held out."""
    read = {name: source(data) for name, source in SOURCES.items()}
    train = {name: [t for i, t in enumerate(texts) if i % 40] for name, texts in read.items()}
    held = {name: texts[::40] for name, texts in read.items()}
    held["synthetic"] = list(islice(documents(HELD_OUT_SYNTHETIC_SEED), 800))
    return train, held


def pack(tokenizer: Tokenizer, texts: list[str], length: int) -> np.ndarray:
    """Rows of `length` tokens (rows, length) of begin mark, document, end mark, and so on."""
    marks = tokenizer.get_vocab(with_added_tokens=True)
    begin, end = marks["<|bos|>"], marks["<|eos|>"]
    ids: list[int] = []
    for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
        ids += [begin, *encoding.ids, end]
    rows = len(ids) // length
    return np.array(ids[: rows * length], dtype=np.int64).reshape(rows, length)


def blocks(tokenizer: Tokenizer, real: dict[str, list[str]], length: int, seed: int) -> Iterator:
    """Blocks of about `BLOCK_TOKENS` tokens as shuffled rows, without end.

    The synthetic documents never repeat; the real ones go round, each time in another order.
    """
    written = documents(seed)
    queue: list[str] = []
    for number in range(1_000_000):
        rng = random.Random(f"{seed}/{number}")
        size, texts = 0, []
        while size < REAL_SHARE * BLOCK_TOKENS * 3.5:
            if not queue:
                queue = [text for texts_ in real.values() for text in texts_]
                rng.shuffle(queue)
            texts.append(queue.pop())
            size += len(texts[-1])
        while size < BLOCK_TOKENS * 3.5:
            texts.append(next(written))
            size += len(texts[-1])
        rng.shuffle(texts)
        yield pack(tokenizer, texts, length)
