"""Batched generation: prompts in, predictions out in the same order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from ftune.errors import DataError, RunError
from ftune.evaluate import lining
from ftune.evaluate.decoding import AnswerText, StopAtText
from ftune.evaluate.quiet import evaluating, out_of_memory
from ftune.evaluate.sampling import drawing
from ftune.fast.quick import quick
from ftune.recipe.schema import Generation
from ftune.run.progress import Progress, Silent
from ftune.types import Prediction, Prompt

WINDOW = 32  # batches whose prompts are sorted by length together


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    generation: Generation,
    stop: tuple[str, ...] = (),
    stop_ids: tuple[int, ...] = (),
    batch_size: int = 16,
    progress: Progress | None = None,
    between: Callable[[], object] = lambda: None,
) -> Iterator[Prediction]:
    """Answers to ``prompts``, in their order.

    ``stop`` and ``stop_ids`` are the template's; ``generation.stop``, the tokenizer's end token and
    those of the model's own generation settings end an answer too. No other setting of the model's
    own takes effect. ``between`` is called before each batch and may raise to end the work.

    In float32 greedy answers do not depend on ``batch_size``, and neither do sampled ones: each
    prompt has random numbers of its own, made from the seed and its place in ``prompts``. Beams
    that are sampled are the exception: they repeat only with the same batches. In 16 bits a near
    tie between two tokens may fall differently in another batch.

    Raises:
        DataError: a prompt is empty, or has no room for an answer in the model's context.
        RunError: there isn't memory for a single prompt.
    """
    engine = Engine(model, tokenizer, generation, stop, stop_ids)
    progress = progress or Silent()
    for prompt in prompts:
        engine.check(prompt)
    done = 0
    with quick(model), progress.meter("generating", len(prompts), "prompts") as meter:
        while done < len(prompts):
            places = range(done, min(done + batch_size * WINDOW, len(prompts)))
            answers: dict[int, Prediction] = {}
            # The longest first: if memory is short, it shows at once.
            waiting = sorted(places, key=lambda i: -len(prompts[i].ids))
            while waiting:
                between()
                batch, rest = waiting[:batch_size], waiting[batch_size:]
                found = engine.answer([prompts[i] for i in batch], batch)
                if found is None:
                    batch_size = _smaller(batch, prompts[batch[0]], progress)
                    continue
                answers.update(zip(batch, found, strict=True))
                waiting = rest
                meter.update(done + len(answers))
            yield from (answers[i] for i in places)
            done = places.stop


class Engine:
    """One model with one way of generating; ``answer`` does a batch."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        generation: Generation,
        stop: tuple[str, ...],
        stop_ids: tuple[int, ...],
    ) -> None:
        self.model = model
        self.base = lining.base_of(model)
        self.generation = generation
        ends = {*stop_ids, *_own_ends(self.base), tokenizer.eos_token_id} - {None}
        self.text = AnswerText(tokenizer, (*stop, *generation.stop), tuple(ends))
        pad = tokenizer.pad_token_id
        self.pad = pad if pad is not None else next(iter(self.text.end_ids), 0)

    def check(self, prompt: Prompt) -> None:
        """Raises DataError if the prompt is empty or leaves no room for an answer."""
        place = f"{prompt.source}:{prompt.row}" if prompt.source else "the prompt"
        if not prompt.ids:
            raise DataError(f"{place}: the prompt has no tokens; give it text")
        config = self.base.config.get_text_config()
        context = getattr(config, "max_position_embeddings", None)
        wanted = self.generation.max_new_tokens
        length = len(prompt.ids) + lining.virtual_tokens(self.model)
        if context and length + wanted > context:
            raise DataError(
                f"{place}: {length:,} prompt tokens and max_new_tokens {wanted:,} are more than "
                f"the model's context of {context:,}; shorten the prompt, or lower "
                f"evaluate.generation.max_new_tokens to at most {max(context - length, 0):,}"
            )

    def answer(
        self, prompts: Sequence[Prompt], keys: Sequence[int], streamer: Any = None
    ) -> list[Prediction] | None:
        """One prediction a prompt, or None if there is not enough memory for the batch.

        ``keys`` name the prompts' random numbers.
        """
        try:
            with evaluating(self.model):
                rows = self._generate([p.ids for p in prompts], keys, streamer)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            rows = None
        if rows is None:  # behind the except clause, whose traceback would hold the tensors
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            return None
        return [self._prediction(p, ids) for p, ids in zip(prompts, rows, strict=True)]

    def _generate(
        self, rows: Sequence[Sequence[int]], keys: Sequence[int], streamer: Any
    ) -> list[list[int]]:
        section = self.generation
        lines = lining.line_up(self.model, rows, self.pad, section.num_beams)
        device = lines.inputs["input_ids"].device
        options: dict[str, Any] = {}
        processors = LogitsProcessorList()
        if section.do_sample and section.num_beams > 1:
            options = {"do_sample": True, "temperature": section.temperature}
            options |= {"top_k": section.top_k, "top_p": section.top_p}
        elif section.do_sample:
            processors = drawing(section, keys, lines.width, device)
        config = GenerationConfig(
            max_new_tokens=section.max_new_tokens,
            num_beams=section.num_beams,
            repetition_penalty=section.repetition_penalty,
            pad_token_id=self.pad,
            eos_token_id=list(self.text.end_ids) or None,
            use_cache=True,
            decoder_start_token_id=getattr(self.base.config, "decoder_start_token_id", None),
            **options,
        )
        stops = StoppingCriteriaList()
        if self.text.stop:
            stops.append(StopAtText(self.text.tokenizer, self.text.stop, lines.width))
        own_random = torch.random.fork_rng([device] if device.type == "cuda" else [])
        with _own_settings_aside(self.base), own_random:
            torch.manual_seed(section.seed + keys[0])  # of sampled beams; nothing else draws here
            ids = self.base.generate(
                **lines.inputs,
                generation_config=config,
                logits_processor=processors,
                stopping_criteria=stops,
                streamer=streamer,
            )
        return ids[:, lines.width :].tolist()

    def _prediction(self, prompt: Prompt, ids: list[int]) -> Prediction:
        before = () if self.base.config.is_encoder_decoder else prompt.ids
        text, finish, tokens = self.text.read(before, ids)
        return Prediction(
            row=prompt.row,
            prompt=prompt.text,
            text=text,
            references=prompt.references,
            source=prompt.source,
            choices=prompt.choices,
            finish=finish,
            tokens=tokens,
        )


@contextmanager
def _own_settings_aside(base: Any) -> Iterator[None]:
    """Keeps the model's generation_config.json from filling in what the recipe leaves out."""
    own = base.generation_config
    base.generation_config = GenerationConfig()
    try:
        yield
    finally:
        base.generation_config = own


def _own_ends(base: Any) -> list[int]:
    ends = base.generation_config.eos_token_id
    return list(ends) if isinstance(ends, list) else [ends]


def _smaller(batch: list[int], longest: Prompt, progress: Progress) -> int:
    """Half the batch size, told to the user."""
    if len(batch) == 1:
        raise RunError(
            f"{longest.source}:{longest.row}: there isn't memory to answer this prompt of "
            f"{len(longest.ids):,} tokens alone; shorten it, lower "
            "evaluate.generation.max_new_tokens or num_beams, or load the model in 4 bits"
        )
    half = len(batch) // 2
    progress.warn(
        f"memory is short: going on with {half} prompts at once instead of {len(batch)} "
        f"(evaluate.batch_size: {half} says so from the start)"
    )
    return half
