"""How long steps take, and which share of that they wait for their batches."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager

from medmm.data.dataset import Batch


class Pace:
    """Clock of the steps of this part of a run.

    Attributes:
        waited_s: Time in which a step could not begin for want of its batches.
        worked_s: Time spent on steps.
    """

    def __init__(self) -> None:
        self.waited_s = self.worked_s = 0.0

    @property
    def wait_share(self) -> float:
        """Share of the steps' time that was waited, in [0, 1]; 0 before the first step."""
        whole = self.waited_s + self.worked_s
        return self.waited_s / whole if whole else 0.0

    def take(self, batches: Iterator[Batch], number: int) -> list[Batch]:
        """The next ``number`` batches, waited for."""
        begun = time.monotonic()
        taken = list(itertools.islice(batches, number))
        self.waited_s += time.monotonic() - begun
        return taken

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count the block as work on a step."""
        begun = time.monotonic()
        yield
        self.worked_s += time.monotonic() - begun
