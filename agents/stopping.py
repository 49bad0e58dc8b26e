"""Ctrl-C, taken at a moment that suits the work instead of in the middle of it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class StopRequest:
    """Set by the first Ctrl-C or SIGTERM; the second one interrupts at once."""

    def __init__(self) -> None:
        self.asked = False

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    @contextlib.contextmanager
    def listening(self, *numbers: signal.Signals) -> Iterator[None]:
        """Take over these signals inside, or Ctrl-C and SIGTERM; does nothing outside the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        taken = numbers or (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._ask) for number in taken}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def uninterrupted() -> Iterator[StopRequest]:
    """Hold Ctrl-C back until the block is left, which then raises KeyboardInterrupt whatever else happened in it.

    Interrupted half way, a library may hide it in an error of its own: pydantic does while it writes a model, and the
    file that is being read then looks damaged. A second Ctrl-C interrupts at once.

    Yields:
        `asked` says whether there was one, for work that can end early.
    """
    stop = StopRequest()
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    try:
        with contextlib.nullcontext() if ignored else stop.listening(signal.SIGINT):
            yield stop
    finally:
        if stop.asked:
            raise KeyboardInterrupt
