"""Batched generation: prompts in, predictions out in the same order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from ftune.errors import DataError, RunError
from ftune.evaluate import lining
from ftune.evaluate.cost import Cost
from ftune.evaluate.decoding import AnswerText, StopAtText
from ftune.evaluate.quiet import evaluating, out_of_memory
from ftune.evaluate.sampling import drawing
from ftune.evaluate.shared_prefix import Groups, Shared, groups
from ftune.fast.quick import quick
from ftune.recipe.schema import Generation
from ftune.run.progress import Progress, Silent
from ftune.types import Prediction, Prompt

WINDOW = 32  # batches whose prompts are sorted by length together
WIDE = 256  # hidden size from which on fast paths pay in steps of one token a row


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
    cost: Cost | None = None,
    batch_tokens: int | None = None,
) -> Iterator[Prediction]:
    """Answers to ``prompts``, in their order.

    ``stop`` and ``stop_ids`` are the template's; ``generation.stop``, the tokenizer's end token and
    those of the model's own generation settings end an answer too. No other setting of the model's
    own takes effect. ``between`` is called before each batch and may raise to end the work.
    With ``batch_tokens`` a batch holds as many prompts as stay, with their answers, within so many
    tokens, in place of ``batch_size``. ``cost`` is added to. A beginning that prompts share is
    gone through once (``shared_prefix``).

    In float32 greedy answers do not depend on ``batch_size``, and neither do sampled ones: each
    prompt has random numbers of its own, made from the seed and its place in ``prompts``. Beams
    that are sampled are the exception: they repeat only with the same batches. In 16 bits a near
    tie between two tokens may fall differently in another batch.

    Raises:
        DataError: a prompt is empty, or has no room for an answer in the model's context.
        RunError: there isn't memory for a single prompt.
    """
    alike = groups([prompt.ids for prompt in prompts], batch_size)
    shared = Shared(model, alike)
    engine = Engine(model, tokenizer, generation, stop, stop_ids, cost, shared)
    progress = progress or Silent()
    for prompt in prompts:
        engine.check(prompt)
    done = 0
    room = _Room(batch_size, batch_tokens, generation)
    with _paths(model), progress.meter("generating", len(prompts), "prompts") as meter:
        while done < len(prompts):
            places = range(done, min(done + room.window(), len(prompts)))
            answers: dict[int, Prediction] = {}
            # The longest first: if memory is short, it shows at once. Prompts that begin alike are
            # asked together.
            waiting = sorted(places, key=lambda i: (alike.of[i], -len(prompts[i].ids)))
            while waiting:
                between()
                size = room.rows(len(prompts[waiting[0]].ids))
                batch, rest = waiting[:size], waiting[size:]
                group = alike.of[batch[0]] if len({alike.of[i] for i in batch}) == 1 else -1
                found = engine.answer([prompts[i] for i in batch], batch, group=group)
                if found is None:
                    room = _Room(_smaller(batch, prompts[batch[0]], progress), None, generation)
                    continue
                answers.update(zip(batch, found, strict=True))
                waiting = rest
                meter.update(done + len(answers))
            yield from (answers[i] for i in places)
            done = places.stop


@dataclass(frozen=True)
class _Room:
    """How many prompts are generated at once."""

    size: int
    tokens: int | None
    generation: Generation

    def rows(self, longest: int) -> int:
        """Prompts of up to ``longest`` tokens, and answers, of each beam, that fit."""
        if self.tokens is None:
            return self.size
        each = (longest + self.generation.max_new_tokens) * self.generation.num_beams
        return max(1, self.tokens // each)

    def window(self) -> int:
        """How many prompts are sorted by length together."""
        return self.rows(0) * WINDOW


def _paths(model: Any) -> AbstractContextManager[object]:
    """Fast paths, where products of matrices outweigh the calls around them."""
    width = getattr(lining.base_of(model).config.get_text_config(), "hidden_size", WIDE)
    return quick(model) if width >= WIDE else nullcontext()


class Engine:
    """One model with one way of generating; ``answer`` does a batch."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        generation: Generation,
        stop: tuple[str, ...],
        stop_ids: tuple[int, ...],
        cost: Cost | None = None,
        shared: Shared | None = None,
    ) -> None:
        self.model = model
        self.cost = cost or Cost()
        self.shared = shared or Shared(model, Groups((), {}))
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
        self,
        prompts: Sequence[Prompt],
        keys: Sequence[int],
        streamer: Any = None,
        group: int = -1,
    ) -> list[Prediction] | None:
        """One prediction a prompt, or None if there is not enough memory for the batch.

        ``keys`` name the prompts' random numbers, and ``group`` the beginning that they share.
        """
        spared = self.shared.spared
        device = self.base.get_input_embeddings().weight.device
        try:
            with evaluating(self.model), self.cost.batch(device):
                rows = self._generate(prompts, keys, streamer, group)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            rows = None
        if rows is None:  # behind the except clause, whose traceback would hold the tensors
            self.shared.give_back()
            self.shared.spared = spared
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            return None
        found = [self._prediction(p, ids) for p, ids in zip(prompts, rows, strict=True)]
        self.cost.add(
            prompts=len(prompts),
            prompt_tokens=sum(len(p.ids) for p in prompts),
            shared_tokens=self.shared.spared - spared,
            generated_tokens=sum(p.tokens for p in found),
        )
        return found

    def _generate(
        self, prompts: Sequence[Prompt], keys: Sequence[int], streamer: Any, group: int
    ) -> list[list[int]]:
        section = self.generation
        rows, tasks = [p.ids for p in prompts], [p.task for p in prompts]
        lines = lining.line_up(self.model, rows, self.pad, section.num_beams, tasks)
        device = lines.inputs["attention_mask"].device
        begun = self.shared.cache(group, rows, section.num_beams)
        if begun is not None:
            lines.inputs["past_key_values"] = begun
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
        stops = StoppingCriteriaList([self.cost.first])
        if self.text.stop:
            stops.append(StopAtText(self.text.tokenizer, self.text.stop, lines.width))
        own_random = torch.random.fork_rng([device] if device.type == "cuda" else [])
        with _own_settings_aside(self.base), own_random:
            torch.manual_seed(section.seed + keys[0])  # of sampled beams; nothing else draws here
            ids = (self.model if lines.by_peft else self.base).generate(
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
