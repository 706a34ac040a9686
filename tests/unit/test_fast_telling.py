"""A training says which fast paths it took, and why one was not."""

from __future__ import annotations

import subprocess
import sys

from tiny_training import make_job, tiny_llama, tiny_lora

from ftune.fast.quick import quick
from ftune.fast.telling import told
from ftune.train.loop import train


def test_a_training_says_what_it_took(tmp_path):
    paths = train(make_job(tmp_path, max_steps=1)).fast_paths
    assert paths["lora"] == "14 modules"
    assert paths["recompute"] == "2 modules"
    assert paths["head"] == paths["no padding mask"] == "taken"


def test_and_what_it_did_not_take():
    model = tiny_llama()
    with quick(model):
        assert told(model)["lora"] == "not taken: no LoRA on a plain linear layer"
    scaled = tiny_lora()
    own = scaled.get_output_embeddings().forward
    scaled.get_output_embeddings().forward = lambda x: own(x).clamp(-1, 1)
    with quick(scaled):
        assert "logits are not" in told(scaled)["head"]


def test_switched_off_is_said(monkeypatch):
    monkeypatch.setenv("FTUNE_PLAIN", "1")
    assert told(tiny_llama()) == {"all": "not taken: FTUNE_PLAIN is set"}


KEPT = """
import resource, sys, torch
from ftune.fast import allocation
if not allocation.kept():  # another C library
    sys.exit()

def asked():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [torch.ones(1_000_000) for _ in range(10)]  # 4 MB each, of a thousand pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first, second = asked(), asked()
assert second < first / 4, (first, second)
"""


def test_freed_blocks_are_taken_again():
    subprocess.run([sys.executable, "-c", KEPT], check=True)  # its heap is not that of the tests
