"""Keeps the progress bars, log lines and warnings of libraries off the screen for a while."""

from __future__ import annotations

import logging as standard
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Silences transformers, PEFT, bitsandbytes and DeepSpeed; the caller checks what matters."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    others = standard.getLogger("bitsandbytes")  # on import it warns of kernels it can do without
    other_level = others.level
    # Imported, where it is installed, to save a model; it sets its level by itself.
    third = standard.getLogger("DeepSpeed")
    third_off = third.disabled
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    others.setLevel(standard.ERROR)
    third.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        others.setLevel(other_level)
        third.disabled = third_off
        if bars:
            logging.enable_progress_bar()
