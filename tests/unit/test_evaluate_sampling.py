from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare

from ftune.evaluate.sampling import Draw, drawing
from ftune.recipe.schema import Generation

CPU = torch.device("cpu")


def draws(scores: torch.Tensor, section: Generation, rows: int) -> torch.Tensor:
    """One token for each of ``rows`` rows with these scores, shape (rows,)."""
    steps = drawing(section, range(rows), 3, CPU)
    ids = torch.zeros(rows, 3, dtype=torch.long)
    return steps(ids, scores.repeat(rows, 1)).argmax(-1)


@pytest.mark.parametrize(("temperature", "seed"), [(1.0, 1), (0.7, 2), (2.0, 3)])
def test_tokens_are_as_frequent_as_they_are_likely(temperature: float, seed: int) -> None:
    scores = torch.tensor([[1.0, -0.5, 0.3, 2.0, -torch.inf, 0.0]])
    section = Generation(do_sample=True, temperature=temperature, seed=seed, max_new_tokens=1)
    counts = torch.bincount(draws(scores, section, 20_000), minlength=6)
    share = (scores[0] / temperature).softmax(-1)
    assert counts[4] == 0
    possible = [0, 1, 2, 3, 5]
    test = chisquare(
        counts[possible].numpy(), 20_000 * share[possible].double().numpy(), sum_check=False
    )
    assert test.pvalue > 1e-3


def test_top_k_and_top_p() -> None:
    scores = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    few = draws(scores, Generation(top_k=2, max_new_tokens=1), 2000)
    assert set(few.tolist()) == {0, 1}
    nucleus = draws(scores, Generation(top_p=0.9, max_new_tokens=1), 2000)
    assert set(nucleus.tolist()) == {0, 1, 2}
    assert set(draws(scores, Generation(max_new_tokens=1), 2000).tolist()) == {0, 1, 2, 3}


def test_a_row_keeps_its_numbers() -> None:
    alone = Draw(7, [5], 10, 0, CPU).numbers
    among = Draw(7, [2, 5, 9], 10, 0, CPU).numbers
    longer = Draw(7, [5], 20, 0, CPU).numbers
    assert torch.equal(alone[0], among[1])
    assert torch.equal(alone[0], longer[0, :10])
    assert not torch.equal(alone, Draw(8, [5], 10, 0, CPU).numbers)
    assert len(among.unique()) == 30


def test_the_edges_draw_possible_tokens() -> None:
    step = Draw(0, [0, 1], 1, 0, CPU)
    step.numbers = torch.tensor([[0.0], [1 - 1e-6]])
    scores = torch.tensor([[-torch.inf, 0.0, 0.0, -torch.inf]]).repeat(2, 1)
    drawn = step(torch.zeros(2, 0, dtype=torch.long), scores).argmax(-1)
    assert drawn.tolist() == [1, 2]
