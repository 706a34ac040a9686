"""A loaded model as lm-evaluation-harness asks it, with progress and stops of ftune's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ftune.evaluate.quiet import evaluating
from ftune.run.progress import Progress


def asked_model(
    model: Any, tokenizer: Any, batch_size: int, progress: Progress, between: Callable[[], None]
) -> Any:
    """The model in the harness's clothes; nothing is loaded again."""
    from lm_eval.models.huggingface import HFLM

    class Asked(HFLM):
        """Says how far it is, and looks before each batch whether to stop."""

        _done = 0
        _meter: Any = None

        def loglikelihood(self, requests: Any, disable_tqdm: bool = True) -> Any:  # noqa: ARG002
            return self._measured("likelihoods", requests, super().loglikelihood)

        def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = True) -> Any:  # noqa: ARG002
            return self._measured("documents", requests, super().loglikelihood_rolling)

        def generate_until(self, requests: Any, disable_tqdm: bool = True) -> Any:  # noqa: ARG002
            return self._measured("answers", requests, super().generate_until)

        def _measured(self, what: str, requests: Any, ask: Callable[..., Any]) -> Any:
            self._done = 0
            with (
                evaluating(model),
                progress.meter(f"suites: {what}", len(requests), "requests") as self._meter,
            ):
                found = ask(requests, disable_tqdm=True)
                self._meter.update(len(requests))
                return found

        def _step(self, rows: int) -> None:
            between()
            self._done += rows
            if self._meter is not None:
                self._meter.update(self._done)

        def _model_call(self, inps: Any, *args: Any, **kwargs: Any) -> Any:
            self._step(len(inps))
            return super()._model_call(inps, *args, **kwargs)

        def _model_generate(self, context: Any, *args: Any, **kwargs: Any) -> Any:
            self._step(len(context))
            return super()._model_generate(context, *args, **kwargs)

    return Asked(
        pretrained=model,
        tokenizer=tokenizer,
        batch_size=batch_size,
        device=str(next(model.parameters()).device),
    )
