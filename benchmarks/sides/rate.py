"""How fast this machine multiplies float32 matrices, by torch's own library and by oneDNN."""

from __future__ import annotations

import json
import time

import torch

from ftune.fast.products import Products

SIZE, TIMES = 1536, 6


def rate(products: Products) -> float:
    """GFLOP/s, the median of some products."""
    one, other = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    products.linear(one, other)
    taken = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        products.linear(one, other)
        taken.append(time.perf_counter() - begun)
    return 2 * SIZE**3 / sorted(taken)[TIMES // 2] / 1e9


if __name__ == "__main__":
    print(
        json.dumps(
            {
                "torch": rate(Products()),
                "onednn": rate(Products(onednn=True)),
                "threads": torch.get_num_threads(),
            }
        )
    )
