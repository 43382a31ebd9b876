"""Images and masks read in processes that may die without taking the run along; they see no pixel of it before.

What a process is asked to do is a function of medmm's that reads files, and gives what pickle can carry.
"""

from __future__ import annotations

import importlib
import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medmm.data import allowance
from medmm.data.child import Child, Silence, serve
from medmm.errors import ImageError, MedmmError, Reason, StudyError, is_out_of_memory
from medmm.io.tree import files_of
from medmm.types import ImageSource, Study

_PREPARING_S = 20.0  # beyond reading: volumes are stretched, contours are filled
_AHEAD = 2  # images that are read before they are needed, beside those being read
_MOST_PROCESSES = 4  # volumes are large, and what draws on them takes longer than what reads them


@dataclass(frozen=True)
class Request:
    """What a process is asked.

    Attributes:
        work: The function, as ``module:name``.
        files: What it reads.
        args: Its arguments.
        confined: Whether it may take no more memory than reading ``files`` should.
    """

    work: str
    files: tuple[Path, ...]
    args: tuple[Any, ...]
    confined: bool = False


def files_read(source: ImageSource, study: Study | None = None) -> tuple[Path, ...]:
    """The files of an image, and of a study's masks."""
    return (*files_of(source), *(study.masks.values() if study is not None else ()))


class CaseReaders:
    """Processes that read; they start when they are first needed. Use it as a context, which ends them.

    Args:
        workers: Processes; 0 reads in this one. More than a few are not started.
    """

    def __init__(self, workers: int) -> None:
        self._children = [Child("medmm.data.case_reading") for _ in range(min(workers, _MOST_PROCESSES))]
        self._idle: queue.SimpleQueue[Child] = queue.SimpleQueue()
        for child in self._children:
            self._idle.put(child)

    def __enter__(self) -> CaseReaders:
        return self

    def __exit__(self, *details: object) -> None:
        """End the processes, whatever they are doing."""
        for child in self._children:
            child.end()

    def ask(self, request: Request) -> Any:
        """Do what is asked in one of the processes.

        Raises:
            ImageError: The files cannot be used; or the process died of them, or took too long.
            MedmmError: As the function raises it, for instance because the disk is full.
            RuntimeError: The function met a bug, which is named.
        """
        if not self._children:
            return _restored(*_attempt(request))
        child = self._idle.get()
        try:
            limit = _PREPARING_S + allowance.seconds(request.files)
            said = child.ask(request, limit)
        finally:
            self._idle.put(child)
        if not isinstance(said, Silence):
            return _restored(*said)
        if said.overdue:
            raise ImageError(Reason.TOO_SLOW, f"the file is not read after {limit:.0f} s")
        raise ImageError(Reason.DECODE_FAILED, f"the reading process ended with code {said.code} on this file")

    def each(self, requests: Iterable[Request]) -> Iterator[Any]:
        """Answers in the order of the requests, a few read ahead; in the place of an answer stands its ``ImageError``.

        Raises:
            MedmmError: As :meth:`ask`, but for ``ImageError``.
            RuntimeError: As :meth:`ask`.
        """
        if not self._children:
            yield from map(self._answer, requests)
            return
        waiting: deque[Future[Any]] = deque()
        threads = ThreadPoolExecutor(len(self._children), "medmm-cases")
        try:
            for request in requests:
                waiting.append(threads.submit(self._answer, request))
                if len(waiting) >= len(self._children) + _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    def _answer(self, request: Request) -> Any:
        try:
            return self.ask(request)
        except ImageError as error:
            return error.with_traceback(None)


def _attempt(request: Request) -> tuple[bool, Any]:
    """True and what the function gives, or False and what it raised: exceptions lose their keywords to pickle."""
    module, name = request.work.split(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    try:
        return True, function(*request.args)
    except MedmmError as error:
        details = {key: getattr(error, key) for key in ("where", "got", "expected", "fix")}
        said = {key: None if one is None else str(one) for key, one in details.items()}
        return False, (type(error), [error.reason] if isinstance(error, StudyError) else [], error.what, said)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        what = "reading the file takes more memory than there is, or than it may take"
        return False, (ImageError, [Reason.OUT_OF_MEMORY], what, {})


def _restored(is_answer: bool, said: Any) -> Any:
    if is_answer:
        return said
    kind, reason, what, details = said
    raise kind(*reason, what, **details)


def _serve(request: Request) -> tuple[bool, Any]:
    with allowance.confined(request.files) if request.confined else nullcontext():
        return _attempt(request)


if __name__ == "__main__":
    serve(_serve)
