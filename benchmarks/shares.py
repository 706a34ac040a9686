"""Peak memory of each process where a model is split: anonymous, that is, not backed by a file.

python benchmarks/shares.py FOLDER --processes 2 --method lora

Makes a random Llama of 184 million parameters in FOLDER (368 MB of 16-bit files), trains one step
of it in float32 through the command line, and looks at the processes every 50 ms. Linux only.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

RECIPE = """
model: {{name_or_path: {model}, dtype: float32}}
data:
  train: [{{path: "ftune:quickstart/train.jsonl", format: alpaca, max_rows: 8}}]
  max_length: 256
tune: {{method: {method}}}
train: {{max_steps: 1, per_device_train_batch_size: 1, gradient_accumulation_steps: 1}}
evaluate: {{metrics: []}}
distributed: {{fsdp: {{}}}}
"""


def make(folder: Path) -> None:
    """A model in 16 bits, with the tokenizer of the one that ships."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from ftune.model.resolve import ASSETS

    config = LlamaConfig(
        hidden_size=1024,
        intermediate_size=2816,
        num_hidden_layers=14,
        num_attention_heads=16,
        vocab_size=2048,
        max_position_embeddings=512,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).bfloat16().save_pretrained(folder, max_shard_size="200MB")
    for path in (ASSETS / "tiny").glob("*token*.json"):
        shutil.copy(path, folder)
    shutil.copy(ASSETS / "tiny/chat_template.jinja", folder)


def peaks(command: list[str]) -> dict[str, float]:
    """The largest anonymous memory of each training process by its number, in MB."""
    import psutil

    run = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    found: dict[str, float] = {}
    while run.poll() is None:
        for child in psutil.Process(run.pid).children(recursive=True):
            try:
                rank = child.environ().get("RANK")
                text = Path(f"/proc/{child.pid}/smaps_rollup").read_text()
            except (psutil.Error, OSError):
                continue  # it has ended
            if rank is not None and "Anonymous:" in text:
                now = int(text.split("Anonymous:")[1].split()[0]) / 1000
                found[rank] = max(found.get(rank, 0.0), now)
        time.sleep(0.05)
    if run.returncode:
        sys.exit(run.returncode)
    return found


def main() -> None:
    """Prints a line for each process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--method", default="lora")
    asked = parser.parse_args()
    model = (asked.folder / "model").resolve()
    if not model.exists():
        make(model)
    recipe = asked.folder / f"{asked.method}.yaml"
    recipe.write_text(RECIPE.format(model=model, method=asked.method))
    command = [sys.executable, "-m", "ftune", "train", str(recipe)]
    options = ["--processes", str(asked.processes), "-o", f"runs_dir={asked.folder / 'runs'}"]
    for rank, peak in sorted(peaks(command + options).items()):
        print(f"process {rank}: {peak:,.0f} MB")


if __name__ == "__main__":
    main()
