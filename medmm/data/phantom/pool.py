"""Phantom studies made by several processes, in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

_Job = TypeVar("_Job")
_Made = TypeVar("_Made")


def in_order(
    make: Callable[[_Job], _Made], jobs: Sequence[_Job], chunk: int, workers: int | None = None
) -> Iterator[_Made]:
    """Call a function on each job, by several processes where there are enough jobs for them.

    Args:
        make: A function that pickle finds by name.
        jobs: What it takes.
        chunk: Jobs that a process is given at a time.
        workers: Processes; None: one a core.
    """
    count = min(workers or len(os.sched_getaffinity(0)), max(1, len(jobs) // chunk))
    if count == 1:
        yield from map(make, jobs)
        return
    with _single_thread(), ProcessPoolExecutor(count) as pool:
        yield from pool.map(make, jobs, chunksize=chunk)


@contextmanager
def _single_thread() -> Iterator[None]:
    """Keep OpenCV to one thread in the processes that are forked meanwhile: they already fill the cores.

    It is told here and not there: a forked process has none of its threads, and would wait for them for ever.
    """
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
