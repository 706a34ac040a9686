"""Where a training stands: the part of a checkpoint that is numbers."""

from __future__ import annotations

from dataclasses import dataclass

from ftune.train.spikes import Figures


@dataclass
class State:
    """Counts since the start, over all processes and sittings; the loop alone changes it."""

    step: int = 0  # optimizer steps done
    epoch: int = 0  # the epoch under way, from 0
    step_in_epoch: int = 0  # steps done in it
    epochs: float = 0.0  # the same as a fraction
    rows: int = 0  # seen, each as often as it was seen
    tokens: int = 0  # seen, without padding
    targets: int = 0  # trained tokens seen
    loss_sum: float = 0.0  # over all trained tokens seen
    seconds: float = 0.0  # spent in steps

    # since the last line of metrics.jsonl
    line_loss_sum: float = 0.0
    line_targets: int = 0
    line_tokens: int = 0
    line_seconds: float = 0.0
    line_loss: float = 0.0  # of that last line

    # of the last step
    learning_rate: float = 0.0
    grad_norm: float | None = None  # before clipping; None if fp16 could not hold it
    overflows: int = 0  # steps in a row that fp16 could not hold
    skipped: int = 0  # steps that were not finite and left out, in all
    spiked: int = 0  # steps that were spikes and left out, in all
    skipped_in_a_row: int = 0  # of both, up to the last step
    recent: tuple[Figures, ...] = ()  # of the last applied steps, where spikes count
    halvings: int = 0  # how often micro-batches were halved, for want of memory
    evaluated_step: int = 0  # the last step after which the evaluation loss was taken
    eval_loss: float | None = None
    best_loss: float | None = None
    best_step: int | None = None
    worse: int = 0  # evaluations in a row without a lower loss
    stopped_early: bool = False

    def __post_init__(self) -> None:
        """JSON has no tuples."""
        self.recent = tuple((loss, norm) for loss, norm in self.recent)

    def enter(self, epoch: int) -> None:
        """Goes to an epoch, to its start unless it is the one under way."""
        if epoch != self.epoch:
            self.epoch, self.step_in_epoch = epoch, 0

    def add(self, rows: int, tokens: int, targets: int, loss_sum: float, seconds: float) -> None:
        """Counts one step."""
        self.step += 1
        self.step_in_epoch += 1
        self.rows += rows
        self.tokens += tokens
        self.targets += targets
        self.loss_sum += loss_sum
        self.seconds += seconds
        self.line_loss_sum += loss_sum
        self.line_targets += targets
        self.line_tokens += tokens
        self.line_seconds += seconds

    def start_line(self) -> None:
        """Begins to count for the next line of metrics.jsonl."""
        if self.line_targets:  # else all its steps were left out
            self.line_loss = self.line_loss_sum / self.line_targets
        self.line_loss_sum, self.line_seconds = 0.0, 0.0
        self.line_targets, self.line_tokens = 0, 0

    def add_evaluation(self, loss: float, threshold: float) -> bool:
        """Notes an evaluation loss; whether it is the lowest by more than ``threshold``."""
        self.evaluated_step = self.step
        self.eval_loss = loss
        if self.best_loss is None or loss < self.best_loss - threshold:
            self.best_loss, self.best_step, self.worse = loss, self.step, 0
            return True
        self.worse += 1
        return False
