"""The recipe's sections: every key, its default and its meaning.

Keys bear the names of the Hugging Face class that a section feeds. The reference page and the JSON
schema are made from this file and from the ``Config`` of each extension.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ftune.recipe.base import Chosen, Section
from ftune.recipe.bounds import Count, Positive, Rate, Resamples, Seed, Share, Values
from ftune.recipe.distributed import Distributed
from ftune.recipe.harness import Harness
from ftune.recipe.layerwise import SlantedTriangular, Unfreezing
from ftune.recipe.mixture import Mixture
from ftune.recipe.source import Source
from ftune.recipe.spikes import Spikes
from ftune.recipe.streaming import Streaming


class Quantization(Section):
    """How the frozen base is kept in fewer bits (bitsandbytes)."""

    load_in_4bit: bool = False
    """Keep the linear layers of the base in 4 bits."""
    load_in_8bit: bool = False
    """Keep the linear layers of the base in 8 bits (LLM.int8)."""
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = "nf4"
    """Which 4-bit numbers: normal float (QLoRA) or plain float."""
    bnb_4bit_use_double_quant: bool = True
    """Quantize the scales too, which saves about 0.4 bits a parameter."""
    bnb_4bit_compute_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What the 4-bit weights are unpacked to for a product; auto takes the model's dtype."""
    llm_int8_threshold: Rate = 6.0
    """Activations beyond this stay in 16 bits (8-bit only)."""


class Model(Section):
    """The base model and its tokenizer."""

    name_or_path: Annotated[str, Field(min_length=1)]
    """A hub id, a folder, or ``ftune:tiny``, the small model that ships with ftune. A relative path
    starts at the recipe's folder."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Weights' type; auto takes bfloat16 on a GPU that has it, and float32 on a CPU."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where it runs; auto takes a GPU where there is one."""
    attn_implementation: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    """Which attention kernel."""
    trust_remote_code: bool = False
    """Run code that comes with the model; needs ``--trust-remote-code`` on the command line too."""
    quantization: Quantization | None = None
    """4-bit or 8-bit weights for the base; leave out for none."""
    add_tokens: tuple[str, ...] = ()
    """Tokens to add to the vocabulary; their embeddings are trained and saved with the adapter."""


class Data(Section):
    """What is trained on, and how rows become tokens."""

    train: Annotated[tuple[Source, ...], Field(min_length=1)]
    """Sources of training rows."""
    mixture: Mixture | None = None
    """The share of each training source; leave out to take all rows, each by its weight."""
    streaming: Streaming | None = None
    """Form rows while training, for data that are larger than the disk or have no end; leave out to
    form all of them before."""
    eval: tuple[Source, ...] | Share = ()
    """Held-out rows for the loss during training: sources, or a share of the training rows."""
    test: tuple[Source, ...] | Share = ()
    """Rows for the evaluation stage: sources, or a share of the training rows."""
    template: str = "tokenizer"
    """How turns are written as text: a template's name, or ``tokenizer`` for the model's own."""
    system_prompt: str | None = None
    """Put before conversations that have no system message of their own."""
    max_length: Annotated[int, Field(ge=8, le=2**31 - 1)] = 1024
    """Longest example in tokens."""
    on_too_long: Literal["error", "truncate_prompt", "truncate", "drop"] = "error"
    """What to do with a longer one: stop, cut its prompt from the left, cut its end, or drop it."""
    on_bad_row: Literal["error", "skip"] = "error"
    """What to do with a row that can't be read: stop, or skip, count and list it."""
    train_on: Literal["assistant", "completion", "all"] = "assistant"
    """Which tokens are trained: every assistant turn, only the last one, or every token."""
    packing: bool = False
    """Put several examples in one line, none of which sees another."""
    min_trained: Annotated[float, Field(ge=0.0, le=1.0)] = 0.01
    """Stop before training if a smaller share of the tokens is trained."""


class Train(Section):
    """The optimization."""

    objective: Chosen
    """What is learned; see the objectives."""
    learning_rate: Annotated[float, Field(gt=0.0)] = 2e-4
    """Peak rate."""
    num_train_epochs: Annotated[float, Field(gt=0.0, le=100_000.0)] = 1.0
    """Passes over the training rows."""
    max_steps: Positive | None = None
    """Stop after so many optimizer steps, whatever the epochs."""
    per_device_train_batch_size: Positive = 8
    """Examples in a micro-batch."""
    tokens_per_batch: Positive | None = None
    """Fill a micro-batch up to so many padded tokens instead of a fixed number of examples."""
    gradient_accumulation_steps: Positive = 1
    """Micro-batches in an optimizer step."""
    group_by_length: bool | None = None
    """Put examples of like length together, which saves padding; null: yes, but not where an
    encoder labels texts, which is trained without padding in any order."""
    optim: Literal[
        "adamw_torch", "adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit", "adafactor", "sgd"
    ] = "adamw_torch"
    """The optimizer."""
    adam_beta1: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """Decay of the first moment (AdamW)."""
    adam_beta2: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.999
    """Decay of the second moment (AdamW)."""
    adam_epsilon: Annotated[float, Field(gt=0.0)] = 1e-8
    """Keeps the division from zero (AdamW)."""
    weight_decay: Rate = 0.0
    """Decoupled decay; norms and biases are left out."""
    max_grad_norm: Annotated[float, Field(gt=0.0)] | None = 1.0
    """Clip the gradient's norm; null for no clipping."""
    lr_scheduler_type: Literal[
        "linear", "cosine", "constant", "constant_with_warmup", "polynomial", "inverse_sqrt",
        "slanted_triangular",
    ] = "linear"  # fmt: skip
    """How the rate goes on after the warm-up; slanted_triangular (ULMFiT) has a rise of its own."""
    slanted_triangular: SlantedTriangular = SlantedTriangular()
    """The shape of ``lr_scheduler_type: slanted_triangular``."""
    warmup_ratio: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the steps in which the rate rises from 0."""
    warmup_steps: Positive | None = None
    """The same as a number of steps, in place of the share."""
    layer_rate_decay: Annotated[float, Field(gt=1.0, le=1000.0)] | None = None
    """Each layer's rate is that of the layer above divided by this (ULMFiT takes 2.6); null: one
    rate for all."""
    unfreeze_every: Unfreezing | None = None
    """Train the top layer first, and the next lower one too each time that so much is done
    (ULMFiT takes an epoch); null: all layers from the start."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them."""
    torch_compile: bool = False
    """Compile the model's layers with torch.compile; needs a C++ compiler, or Triton on a GPU."""
    seed: Seed = 42
    """Of everything that is drawn: order, dropout, new weights."""
    logging_steps: Positive = 10
    """Steps between two lines of metrics.jsonl."""
    eval_steps: Positive | None = None
    """Steps between two evaluations of the loss on ``data.eval``; null: after each epoch."""
    per_device_eval_batch_size: Positive = 16
    """Examples in a batch of that evaluation."""
    save_steps: Positive | None = None
    """Steps between two checkpoints; null: after each epoch."""
    save_total_limit: Positive = 2
    """Checkpoints kept; the best one is kept besides."""
    load_best_model_at_end: bool = False
    """Keep the weights with the lowest evaluation loss instead of the last ones."""
    early_stopping_patience: Positive | None = None
    """Stop after so many evaluations without a lower loss."""
    early_stopping_threshold: Rate = 0.0
    """By how much the loss must fall to count as lower."""
    on_nan: Literal["stop", "skip"] = "stop"
    """A step whose loss or gradient is not finite: stop the run, or leave the step out, count it
    and name its rows; ten in a row stop the run as well."""
    on_spike: Literal["ignore", "stop", "skip"] = "ignore"
    """A step whose loss or gradient is finite and a spike: train on it, stop the run, or leave the
    step out, count it and name its rows; ten in a row stop the run as well."""
    spikes: Spikes = Spikes()
    """What counts as one."""
    on_oom: Literal["stop", "shrink"] = "stop"
    """Memory is short in a step: stop the run, or halve the micro-batches from there on and take
    as many more, which gives the same gradient."""
    grace_seconds: Annotated[float, Field(gt=0.0)] | None = None
    """Time from SIGTERM to the end: a step that takes longer is broken off, and the newest
    checkpoint is what is left; null: the step under way is always finished and saved."""
    report_to: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ()
    """Trackers, through accelerate; none by default, and nothing else phones anywhere."""


class Generation(Section):
    """How answers are generated."""

    max_new_tokens: Positive = 128
    """Longest answer in tokens."""
    do_sample: bool = False
    """Draw tokens; else the likeliest is taken."""
    temperature: Annotated[float, Field(gt=0.0)] = 1.0
    """Flattens (above 1) or sharpens (below 1) the distribution that is drawn from."""
    top_k: Count = 0
    """Draw from the k likeliest tokens; 0 for all."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Draw from the likeliest tokens that together have this probability."""
    num_beams: Positive = 1
    """Beam search with so many beams."""
    repetition_penalty: Annotated[float, Field(gt=0.0)] = 1.0
    """Above 1 makes tokens that were there less likely."""
    stop: tuple[str, ...] = ()
    """Strings that end an answer, besides the template's own and the end mark."""
    seed: Seed = 0
    """Of what is drawn."""


class Retained(Source):
    """Rows that the base model is good at, to see what training takes from it."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    """What the rows are called in the report."""
    metrics: tuple[Chosen, ...] = ()
    """Which figures; see the metrics. By default token_loss."""


class Evaluate(Section):
    """The evaluation on ``data.test``, of the base model before and of the tuned one after."""

    metrics: tuple[Chosen, ...] = ()
    """Which figures; see the metrics."""
    suites: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Benchmarks of lm-evaluation-harness, such as mmlu, gsm8k or glue, or of your own task
    files; needs ``pip install 'ftune[suites]'``."""
    harness: Harness = Harness()
    """How the suites are asked."""
    generation: Generation = Generation()
    """How answers are generated."""
    batch_size: Positive = 16
    """Prompts generated at once."""
    batch_tokens: Positive | None = None
    """Generate as many prompts at once as are, with their answers and padding, at most so many
    tokens; null: ``batch_size``."""
    robustness: tuple[
        Literal["typos", "casing", "whitespace", "contractions", "expansions"], ...
    ] = ()
    """Score the rows with perturbed questions too, once for each kind, and each row's worst."""
    base: bool = True
    """Score the base model too."""
    retain: tuple[Retained, ...] = ()
    """Further sets of rows, scored before and after: the report says what was lost or kept."""
    stride: Positive | None = None
    """Score likelihoods of whole documents, however long, in windows of ``data.max_length`` tokens
    that move on by so many; null: each row is one window."""
    group_references: bool = False
    """Ask equal prompts once, with the answers of all their rows as references."""
    bootstrap: Resamples = 1000
    """Draws of rows for each 95% interval, and trials of each test of a difference; 0 for neither,
    else at least 100."""


class Recipe(Section):
    """One run of ftune, from rows to report."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    """Name of the run's folder; by default the recipe file's name."""
    runs_dir: str = "runs"
    """Folder of all runs; a relative path starts at the working folder."""
    model: Model
    """The base model and its tokenizer."""
    data: Data
    """What is trained on, and how rows become tokens."""
    tune: Chosen
    """Which parameters are trained, and how; ``method`` and that method's keys."""
    train: Train
    """The optimization."""
    evaluate: Evaluate = Evaluate()
    """The evaluation."""
    distributed: Distributed = Distributed()
    """Several processes."""
    sweep: Annotated[dict[str, Values], Field(min_length=1)] | None = None
    """Dotted keys of the recipe, each with a list of values: ``ftune sweep`` runs their grid."""
