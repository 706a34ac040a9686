"""BERTScore: how alike the tokens of answer and reference are inside a model that is given.

Zhang et al. 2020, "BERTScore: Evaluating Text Generation with BERT", https://arxiv.org/abs/1904.09675:
each token is matched with the most similar one of the other text, by the cosine of their vectors.
The figures are those of the package ``bert-score``, without its rescaling.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ftune import __version__
from ftune.errors import ModelError
from ftune.evaluate.references import need_references
from ftune.evaluate.rowwise import mean
from ftune.recipe.base import Section
from ftune.types import Metric, Prediction

NEEDS = "text"
BATCH = 32  # texts at once
LONGEST = 512  # tokens of a text, where the tokenizer knows no other bound


class Config(Section):
    """Which vectors are compared; figures compare only where all of this is equal."""

    model: Annotated[str, Field(min_length=1)]
    """Hub id or folder of the model whose vectors are compared; it is no part of the tuning."""
    layer: Annotated[int, Field(ge=1)] | None = None
    """Vectors behind so many layers; null: behind the last one."""
    idf: bool = False
    """Weigh tokens by how few of the references have them."""


def score(predictions: Sequence[Prediction], config: Config) -> list[Metric]:
    """Mean precision, recall and F1; of several references the best counts, for each of the three.

    Raises:
        DataError: there are no predictions, or a row has no reference.
        ModelError: the model can't be loaded, or has fewer layers.
    """
    need_references(predictions, "bertscore")
    encoder = _Encoder(config)
    texts = [t.strip() for p in predictions for t in (p.text, *p.references)]
    ids = {text: encoder.ids(text) for text in dict.fromkeys(texts)}
    rights = [ids[r.strip()] for p in predictions for r in p.references]
    weights = _weights(rights, encoder.bare) if config.idf else None
    vectors = encoder.vectors(ids)
    found = []
    for one in predictions:
        said = one.text.strip()
        pairs = [
            _pair(vectors[said], vectors[r.strip()], ids[said], ids[r.strip()], weights, encoder)
            for r in one.references
        ]
        found.append([max(values) for values in zip(*pairs, strict=True)])
    signature = (
        f"model:{encoder.name}|layer:{encoder.layer}|idf:{'yes' if config.idf else 'no'}"
        f"|rescaled:no|rows:{len(predictions)}|version:ftune-{__version__}"
    )
    return [
        Metric(f"bertscore_{name}", math.fsum(each) / len(each), "", signature, rows=mean(each))
        for name, each in zip(("precision", "recall", "f1"), zip(*found, strict=True), strict=True)
    ]


def check(config: Config) -> int:
    """The layer whose vectors are compared; refuses before a training what could only fail after.

    Raises:
        ModelError: the model is not there, or has fewer layers.
    """
    import transformers

    try:
        known = transformers.AutoConfig.from_pretrained(config.model)
    except (OSError, ValueError) as error:
        raise _not_there(config, error) from error
    depth = int(known.get_text_config().num_hidden_layers)
    if (config.layer or depth) > depth:
        raise ModelError(
            f"evaluate.metrics: bertscore.layer: {config.model} has {depth} layers; name one of 1 "
            f"to {depth}"
        )
    return config.layer or depth


def _not_there(config: Config, error: Exception) -> ModelError:
    said = str(error).partition("\n")[0]
    return ModelError(
        f"evaluate.metrics: bertscore.model: {config.model} can't be loaded ({said}); name the "
        "folder of a model with safetensors, or a hub id that is there"
    )


class _Encoder:
    """The model up to a layer, and its tokenizer."""

    def __init__(self, config: Config) -> None:
        import transformers

        self.layer = check(config)
        try:
            self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(config.model)
            self.model: Any = transformers.AutoModel.from_pretrained(
                config.model, use_safetensors=True
            ).eval()
        except (OSError, ValueError) as error:
            raise _not_there(config, error) from error
        self.name = Path(config.model).name
        marks = (self.tokenizer.cls_token_id, self.tokenizer.sep_token_id)
        # These are matched, and not counted.
        self.bare = {mark for mark in marks if mark is not None}
        self.longest = min(self.tokenizer.model_max_length, LONGEST)

    def ids(self, text: str) -> list[int]:
        """A text as tokens, with the marks at its ends."""
        found = self.tokenizer(text, truncation=True, max_length=self.longest)["input_ids"]
        return list(found) or [self.tokenizer.eos_token_id or 0]

    def vectors(self, ids: Mapping[str, Sequence[int]]) -> dict[str, Any]:
        """Of each text its tokens' vectors of length one, shape (tokens, width)."""
        import torch

        found: dict[str, Any] = {}
        order = sorted(ids, key=lambda text: len(ids[text]))
        for start in range(0, len(order), BATCH):
            texts = order[start : start + BATCH]
            width = len(ids[texts[-1]])
            batch = torch.zeros((len(texts), width), dtype=torch.long)
            mask = torch.zeros_like(batch)
            for line, text in enumerate(texts):
                batch[line, : len(ids[text])] = torch.tensor(ids[text])
                mask[line, : len(ids[text])] = 1
            with torch.inference_mode():
                told = self.model(input_ids=batch, attention_mask=mask, output_hidden_states=True)
            states = torch.nn.functional.normalize(told.hidden_states[self.layer].float(), dim=-1)
            found |= {text: states[i, : len(ids[text])] for i, text in enumerate(texts)}
        return found


def _weights(rights: Sequence[Sequence[int]], bare: set[int]) -> dict[int | None, float]:
    """log((N + 1) / (n + 1)) of a token that n of N references have; None stands for all others."""
    count = Counter(token for right in rights for token in set(right))
    total = len(rights) + 1
    found: dict[int | None, float] = {t: math.log(total / (n + 1)) for t, n in count.items()}
    return {**found, None: math.log(total), **dict.fromkeys(bare, 0.0)}


def _pair(
    said: Any, right: Any, said_ids: Sequence[int], right_ids: Sequence[int],
    weights: Mapping[int | None, float] | None, encoder: _Encoder,
) -> tuple[float, float, float]:  # fmt: skip
    """Precision, recall and F1 of two texts; 0 where one has no words."""
    alike = said @ right.T
    precision = _mean(alike.max(1).values.tolist(), said_ids, weights, encoder.bare)
    recall = _mean(alike.max(0).values.tolist(), right_ids, weights, encoder.bare)
    both = precision + recall
    return precision, recall, 2 * precision * recall / both if both else 0.0


def _mean(
    values: Sequence[float],
    ids: Sequence[int],
    weights: Mapping[int | None, float] | None,
    bare: set[int],
) -> float:
    each = [
        float(token not in bare) if weights is None else weights.get(token, weights[None])
        for token in ids
    ]
    total = math.fsum(each)
    return math.fsum(v * w for v, w in zip(values, each, strict=True)) / total if total else 0.0
