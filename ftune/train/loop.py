"""The training loop, on accelerate, from top to bottom."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ftune.errors import Interrupted
from ftune.fast.telling import told
from ftune.run.progress import Meter
from ftune.train import frozen, gradient, memory, randomness, tracking
from ftune.train.engine import Engine, ready
from ftune.train.evaluating import evaluation_loss
from ftune.train.job import Job, Outcome, Step
from ftune.train.layerwise import Layerwise, layer_by_layer
from ftune.train.metrics_file import MetricsFile
from ftune.train.saving import Saver
from ftune.train.spikes import kept
from ftune.train.state import State
from ftune.train.stepping import Taken, check_overflows, check_skips, figures, take_step


def train(job: Job) -> Outcome:
    """Trains the job's model in place, from its newest checkpoint if there is one.

    Raises:
        Interrupted: asked to stop; a checkpoint was saved, and the same call goes on from it.
        RunError: the training diverged, a checkpoint could not be written or belongs to another.
        ModelError, RecipeError: see ``engine.ready``.
    """
    settings = job.settings
    tracking.check(settings.report_to)
    counts = job.plan.counts(settings.num_train_epochs, settings.max_steps)
    with (
        memory.told(settings),
        ready(job, sum(counts)) as engine,
        layer_by_layer(job.layers, settings, counts, engine.trained) as layerwise,
        frozen.at_rest(job, engine, sum(counts)) as seconds,
    ):
        gradient.check(engine, job)
        randomness.seed(settings.seed, engine.process)
        saver = Saver(job, engine, sum(counts))
        state = saver.resume()
        state.seconds += seconds
        metrics = MetricsFile(job.folder / "metrics.jsonl", state.step, engine.process == 0)
        tracking.start(engine.accelerator, settings.report_to, job.name, job.folder, state.step)
        with saver.open(), job.progress.meter("train", sum(counts), "steps") as meter:
            run = _Run(job, engine, saver, metrics, meter, state, counts, layerwise)
            if said := layerwise.never():
                job.progress.warn(said)
            run.settle()  # what was still due when the last sitting ended
            for epoch in range(state.epoch, len(counts)):
                steps = run.steps_of(epoch)
                state.enter(epoch)
                while state.step_in_epoch < counts[epoch] and not state.stopped_early:
                    run.take(steps[state.step_in_epoch], len(steps))
                    run.settle()
        holds = saver.load_best(state) if settings.load_best_model_at_end else state.step
        if engine.sharding is not None:
            engine.sharding.keep(job)
        return _outcome(engine, saver, state, holds, layerwise)


@dataclass
class _Run:
    """The parts of a training under way."""

    job: Job
    engine: Engine
    saver: Saver
    metrics: MetricsFile
    meter: Meter
    state: State
    counts: tuple[int, ...]
    layerwise: Layerwise

    def steps_of(self, epoch: int) -> Sequence[Step]:
        """The steps of an epoch; where its rows are only formed now, a stop in the midst is saved.

        Raises:
            Interrupted: it was asked to stop.
        """
        try:
            return self.job.plan.epoch(epoch)
        except Interrupted:
            self.leave_if_asked()
            raise

    def take(self, step: Step, steps_in_epoch: int) -> None:
        """One optimizer step, counted, shown and logged."""
        state = self.state
        rate = float(self.engine.schedule.get_last_lr()[0])
        self.unfreeze()
        start = time.perf_counter()
        number, settings = state.step + 1, self.job.settings
        taken = take_step(self.engine, self.job, step, number, state.halvings, state.recent)
        seconds = time.perf_counter() - start
        state.halvings = taken.halvings
        if taken.skipped:
            state.add(step.rows, step.tokens, 0, 0.0, seconds)
        else:
            state.add(step.rows, step.tokens, step.targets, taken.loss_sum, seconds)
        if taken.applied and settings.on_spike != "ignore":
            state.recent = kept(state.recent, figures(step, taken), settings.spikes.window)
        state.epochs = state.epoch + state.step_in_epoch / steps_in_epoch
        state.grad_norm = taken.grad_norm if taken.applied else None
        state.learning_rate = rate
        state.overflows = state.overflows + 1 if taken.overflowed else 0
        check_overflows(state.overflows, state.step)
        self.note_skip(taken)
        self.meter.update(
            state.step,
            loss="-" if taken.skipped else f"{taken.loss_sum / max(1, step.targets):.4f}",
            rate=f"{state.line_tokens / max(state.line_seconds, 1e-9):,.0f} tok/s",
            memory=f"{memory.used(self.engine.device) / 2**30:.2f} GiB",
        )
        if state.step % self.job.settings.logging_steps == 0 or state.step == sum(self.counts):
            self.log_line()

    def unfreeze(self) -> None:
        """Freezes what the next step leaves alone, and tells which layers begin with it."""
        done = self.state.step
        self.layerwise.before_step(done)
        if begun := self.layerwise.begun(done):
            self.metrics.append({"step": done + 1, "unfrozen": list(begun)})
            self.job.progress.say(f"step {done + 1}: {', '.join(begun)} trained from here on")

    def note_skip(self, taken: Taken) -> None:
        """Counts a step that was left out, and names its rows on the screen and in the metrics."""
        state = self.state
        if not taken.skipped:
            state.skipped_in_a_row = 0
            return
        state.skipped += not taken.spiked
        state.spiked += taken.spiked
        state.skipped_in_a_row += 1
        self.job.progress.warn(f"step {state.step}: {taken.skipped}")
        left_out = state.skipped + state.spiked
        self.metrics.append({"step": state.step, "skipped": left_out, "why": taken.skipped})
        rate = self.job.settings.learning_rate
        check_skips(state.skipped_in_a_row, state.step, rate)

    def settle(self) -> None:
        """What may be due between two steps: stop, evaluate, stop early, save.

        In this order, and each noted in the state, so that a training that was stopped here goes
        on here.
        """
        state, settings = self.state, self.job.settings
        self.saver.check()
        self.leave_if_asked()
        last = state.step == sum(self.counts)
        end = last or state.step_in_epoch == self.counts[state.epoch]
        save = _due(state.step, settings.save_steps, end) or last
        if (
            self.job.eval_batches
            and (_due(state.step, settings.eval_steps, end) or last)
            and state.evaluated_step < state.step
        ):
            save = self.evaluate() or save
        if state.stopped_early and state.line_tokens:
            self.log_line()
        if state.step and (save or state.stopped_early):
            self.save()
        self.leave_if_asked()

    def evaluate(self) -> bool:
        """Takes the evaluation loss; whether it is the best so far."""
        state, settings = self.state, self.job.settings
        start = time.perf_counter()
        with memory.told(settings, evaluation=True):
            loss = evaluation_loss(self.engine, self.job)
        if loss is None:
            self.leave_if_asked()
            return False
        better = state.add_evaluation(loss, settings.early_stopping_threshold)
        patience = settings.early_stopping_patience
        state.stopped_early = patience is not None and state.worse >= patience
        self.write(
            {
                "step": state.step,
                "epoch": state.epochs,
                "eval_loss": loss,
                "eval_seconds": time.perf_counter() - start,
            }
        )
        said = f"evaluation at step {state.step}: loss {loss:.4f}" + (", the best" * better)
        if state.stopped_early:
            said += f"; stopped early: not lower {state.worse} times in a row"
        self.job.progress.say(said)
        return better

    def log_line(self) -> None:
        """A line of metrics.jsonl for the steps since the last one."""
        state = self.state
        rate = state.line_tokens / max(state.line_seconds, 1e-9)
        loss = {"loss": state.line_loss_sum / state.line_targets} if state.line_targets else {}
        state.start_line()
        self.write(
            {
                "step": state.step,
                "epoch": state.epochs,
                **loss,  # none where all steps were left out
                "learning_rate": state.learning_rate,
                "grad_norm": state.grad_norm,
                "rows": state.rows,
                "tokens": state.tokens,
                "trained_tokens": state.targets,
                "tokens_per_second": rate,
                "seconds": state.seconds,
                "memory_bytes": memory.used(self.engine.device),
            },
            self.layerwise.rates(state.learning_rate, state.step),
        )

    def write(self, line: dict[str, float | None], rates: dict[str, float] | None = None) -> None:
        """To metrics.jsonl and the trackers; ``rates`` are those of the layers."""
        self.metrics.append({**line, "layer_rates": rates} if rates else line)
        shown = {k: v for k, v in line.items() if k != "step" and v is not None}
        shown |= {f"learning_rate/{name}": rate for name, rate in (rates or {}).items()}
        self.engine.accelerator.log(shown, step=self.state.step)

    def save(self) -> None:
        """A checkpoint, with the metrics up to here behind it; it is written beside the loop."""
        self.saver.save(self.state, self.metrics.sync)

    def leave_if_asked(self) -> None:
        """Saves and raises Interrupted if any process was asked to stop."""
        if not self.engine.total(float(bool(self.job.stop))):
            return
        self.save()
        self.saver.finish()
        raise Interrupted(
            f"stopped after step {self.state.step} of {sum(self.counts)}, which is saved in "
            f"{self.saver.folder(self.state)}; the same command goes on from there",
            self.job.stop.code or 143,
        )


def _due(step: int, every: int | None, end_of_epoch: bool) -> bool:
    return end_of_epoch if every is None else step % every == 0


def _shares(engine: Engine) -> dict[str, Any] | None:
    if engine.sharding is None:
        return None
    return engine.sharding.told(engine.optimizer.optimizer, memory.peak(engine.device))


def _outcome(
    engine: Engine, saver: Saver, state: State, holds: int, layerwise: Layerwise
) -> Outcome:
    return Outcome(
        steps=state.step,
        epochs=state.epochs,
        loss=state.loss_sum / max(1, state.targets),
        final_loss=state.line_loss,
        eval_loss=state.eval_loss,
        best_step=state.best_step,
        best_loss=state.best_loss,
        weights_of_step=holds,
        stopped_early=state.stopped_early,
        rows=state.rows,
        tokens=state.tokens,
        trained_tokens=state.targets,
        seconds=state.seconds,
        tokens_per_second=state.tokens / max(state.seconds, 1e-9),
        peak_memory_bytes=memory.peak(engine.device),
        resumed_from=saver.resumed_from,
        skipped_steps=state.skipped,
        spiked_steps=state.spiked,
        halvings=state.halvings,
        layers=layerwise.told(state.step),
        fast_paths=told(engine.plain),
        sharding=_shares(engine),
        deepspeed=engine.zero.told(memory.peak(engine.device)) if engine.zero else None,
    )
