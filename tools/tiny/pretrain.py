"""Builds ftune:tiny from nothing: tokenizer, pre-training, and the folder that is shipped.

    python tools/tiny/pretrain.py --data DATA --out OUT --minutes 35

DATA holds the folders tinyshakespeare, gsm8k and self-instruct. The order of the data depends on
the seed alone; the learning rate falls with the share of the budget that is spent, so `--steps`
gives the same model again and `--minutes` a model of the same kind.
"""

import argparse
import json
import math
import os
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

# oneDNN's bfloat16 products need AVX-512 here; some machines offer an AMX that does not work.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")

import corpus
import tokenizer as bpe
import torch
from text import documents
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

CONTEXT = 512
TOKENS_PER_STEP = 8192
SHORT_ROWS = 256  # attention costs less on short rows; the last part is trained on whole ones
LONG_ROWS_FROM = 0.85
MUON_RATE, ADAM_RATE = 0.03, 8e-3


@dataclass(frozen=True)
class Budget:
    """What ends the training: a number of steps or of minutes."""

    steps: int | None
    minutes: float
    started: float

    def spent(self, step: int) -> float:
        """The share of the budget that is used up, from 0 to 1."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        return min(1.0, (time.monotonic() - self.started) / (60 * self.minutes))


def new_model(tokenizer: Tokenizer) -> LlamaForCausalLM:
    """A Llama of about 3.5 million random weights."""
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=256,
        intermediate_size=640,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.token_to_id(bpe.BOS),
        eos_token_id=tokenizer.token_to_id(bpe.EOS),
        pad_token_id=tokenizer.token_to_id(bpe.PAD),
    )
    return LlamaForCausalLM._from_config(config, attn_implementation="eager")


def loss_of(model: LlamaForCausalLM, rows: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy in nats a token; `rows` is (rows, length)."""
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(rows, use_cache=False).last_hidden_state[:, :-1]
        logits = functional.linear(hidden.reshape(-1, hidden.shape[-1]), model.lm_head.weight)
    return functional.cross_entropy(logits.float(), rows[:, 1:].reshape(-1))


@torch.no_grad()
def held_out_losses(model: LlamaForCausalLM, held: dict[str, torch.Tensor]) -> dict[str, float]:
    """Nats a token of each held-out source."""
    return {name: float(loss_of(model, rows)) for name, rows in held.items()}


def optimizers(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the matrices between embedding and head, AdamW for all others."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=0.01, momentum=0.95),
        torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def rate_factor(step: int, spent: float) -> float:
    """Warm-up over 40 steps, full rate up to a third of the budget, then a cosine down to 2%."""
    fall = max(0.0, spent - 1 / 3) * 1.5
    return min(1.0, (step + 1) / 40) * (0.02 + 0.98 * (1 + math.cos(math.pi * fall)) / 2)


def save(model: LlamaForCausalLM, tokenizer: Tokenizer, folder: Path, log: dict) -> None:
    """Writes the folder that transformers loads, with weights in bfloat16."""
    ends = [tokenizer.token_to_id(mark) for mark in (bpe.EOS, bpe.IM_END)]
    copy = LlamaForCausalLM(model.config).bfloat16()
    copy.load_state_dict(model.state_dict())
    copy.generation_config = GenerationConfig(
        bos_token_id=model.config.bos_token_id,
        eos_token_id=ends,
        pad_token_id=model.config.pad_token_id,
        do_sample=False,
        max_new_tokens=128,
    )
    copy.save_pretrained(folder)
    bpe.save(tokenizer, folder, CONTEXT)
    (folder / "pretraining.json").write_text(json.dumps(log, indent=2) + "\n", "utf-8")


def legs(folder: Path) -> list[dict]:
    """What the folder's model was trained with so far."""
    return json.loads((folder / "pretraining.json").read_text("utf-8"))["legs"]


def prepare(arguments: argparse.Namespace) -> tuple[LlamaForCausalLM, Tokenizer, dict, dict]:
    """The model to train, its tokenizer, the training documents and the held-out rows (rows, 256).

    The documents are texts by source, the rows token ids by source.
    """
    real, held = corpus.split(arguments.data)
    if arguments.start:
        tokenizer = Tokenizer.from_file(str(arguments.start / "tokenizer.json"))
        model = new_model(tokenizer)
        model.load_state_dict(LlamaForCausalLM.from_pretrained(arguments.start).state_dict())
    else:
        sample = list(islice(documents(-1), 12_000))
        tokenizer = bpe.train(sample + [text for texts in real.values() for text in texts])
        model = new_model(tokenizer)
    packed = {name: corpus.pack(tokenizer, texts, SHORT_ROWS) for name, texts in held.items()}
    return model, tokenizer, real, {n: torch.from_numpy(rows[:120]) for n, rows in packed.items()}


def train(arguments: argparse.Namespace) -> None:
    """Trains until the budget is spent and writes the best model so far every few minutes."""
    torch.manual_seed(arguments.seed)
    model, tokenizer, real, held = prepare(arguments)
    optims = optimizers(model)
    rates = [optim.param_groups[0]["lr"] for optim in optims]
    step_loss = torch.compile(loss_of) if arguments.compile else loss_of
    earlier = legs(arguments.start) if arguments.start else []
    stream = corpus.blocks(tokenizer, real, CONTEXT, arguments.seed)
    budget = Budget(arguments.steps, arguments.minutes, time.monotonic())
    rows, position, step, spent, best = next(stream), 0, 0, 0.0, math.inf
    count = TOKENS_PER_STEP // CONTEXT
    while spent < 1.0:
        if position + count > len(rows):
            rows, position = next(stream), 0
        batch = torch.from_numpy(rows[position : position + count])
        batch = batch if spent >= LONG_ROWS_FROM else batch.reshape(-1, SHORT_ROWS)
        for optim, rate in zip(optims, rates, strict=True):
            optim.param_groups[0]["lr"] = rate * rate_factor(step, spent)
        loss = step_loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optim in optims:
            optim.step()
            optim.zero_grad()
        step, position = step + 1, position + count
        spent = budget.spent(step)
        if step % 20 == 0:
            pace = step * TOKENS_PER_STEP / (time.monotonic() - budget.started)
            print(f"{spent:6.1%} step {step} loss {loss:.3f} {pace:.0f} tokens/s", flush=True)
        if step % 200 == 0 or spent >= 1.0:
            losses = held_out_losses(model, held)
            mean = sum(losses.values()) / len(losses)
            print("held out:", {k: round(v, 3) for k, v in losses.items()}, flush=True)
            if mean < best:
                best = mean
                leg = {"seed": arguments.seed, "steps": step, "tokens": step * TOKENS_PER_STEP}
                log = {"legs": [*earlier, leg], "held_out_loss": losses}
                save(model, tokenizer, arguments.out, log)


def main() -> None:
    """Reads the arguments and trains."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the source folders")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the model to")
    parser.add_argument("--minutes", type=float, default=35.0, help="length of the training")
    parser.add_argument("--steps", type=int, help="instead of minutes: an exact number of steps")
    parser.add_argument("--start", type=Path, help="go on from a folder that this script wrote")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--compile", action="store_true", help="faster where a C++ compiler is")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    train(arguments)


if __name__ == "__main__":
    main()
