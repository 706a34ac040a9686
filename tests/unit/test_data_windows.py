"""Windows over a long example: each token counts once, with enough before it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ftune.data.windows import windows


@given(st.lists(st.booleans(), min_size=1, max_size=90), st.integers(1, 30), st.integers(1, 30))
def test_each_token_counts_once(trained, width, stride):
    stride = min(stride, width)
    ids = list(range(len(trained)))
    counted = []
    for part, flags in windows(ids, trained, width, stride):
        assert len(part) == len(flags) <= width
        assert list(part) == ids[part[0] : part[-1] + 1]
        for at, (token, flag) in enumerate(zip(part, flags, strict=True)):
            if flag:
                counted.append(token)
                assert at >= width - stride or part[0] == 0
    assert counted == [token for token, flag in zip(ids, trained, strict=True) if flag]


def test_one_window_where_it_is_short():
    assert list(windows([1, 2], [False, True], 5, 2)) == [([1, 2], [False, True])]
