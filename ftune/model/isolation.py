"""Whether a model keeps packed examples apart."""

from __future__ import annotations

from typing import Any


def isolates(model: Any) -> bool:
    """Whether examples that stand in one line don't see each other.

    Two short rows of drawn ids go through the model packed in one line, with ``position_ids`` that
    start again and no attention mask, and each alone; the logits must be equal up to rounding.
    A soft prompt would stand before the first example only, so such a model doesn't isolate.
    """
    import torch

    if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
        return False
    vocabulary = model.get_input_embeddings().weight.shape[0]
    drawn = torch.randint(0, vocabulary, (12,), generator=torch.Generator().manual_seed(0))
    ids = drawn.to(model.device)
    first, second = ids[:5], ids[5:]
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            packed = _logits(model, [first, second])
            alone = torch.cat([_logits(model, [part]) for part in (first, second)])
    finally:
        model.train(training)
    # Products of other shapes round otherwise; 8-bit layers share outlier columns in a batch.
    exact = model.dtype == torch.float32 and not getattr(model, "is_quantized", False)
    allowed = (1e-4 if exact else 5e-2) * float(alone.abs().max())
    return bool((packed - alone).abs().max() <= allowed)


def _logits(model: Any, parts: list[Any]) -> Any:
    """Float32 logits of shape (tokens, vocabulary) of the parts in one line."""
    import torch

    positions = torch.cat([torch.arange(len(part), device=part.device) for part in parts])
    answer = model(
        input_ids=torch.cat(parts)[None],
        position_ids=positions[None],
        attention_mask=None,
        use_cache=False,
    )
    return answer.logits[0].float()
