"""Silence around libraries that talk to people who write training scripts."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_TALKATIVE = ("bitsandbytes", "trl", "accelerate", "datasets", "peft")


@contextmanager
def quiet() -> Iterator[None]:
    """No bars, and none of the libraries' words to those who write training scripts, nor what they say on import."""
    others = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in others]
    for logger in others:
        logger.setLevel(logging.CRITICAL)
    from transformers.utils import logging as transformers_logging

    noisy: Any = transformers_logging
    shown, level = noisy.is_progress_bar_enabled(), noisy.get_verbosity()
    noisy.disable_progress_bar()
    noisy.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        noisy.set_verbosity(level)
        if shown:
            noisy.enable_progress_bar()
        for logger, before in zip(others, levels, strict=True):
            logger.setLevel(before)
