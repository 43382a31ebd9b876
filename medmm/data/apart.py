"""Files looked at by processes that may die without taking anybody along; answers come in the order of the files.

A hospital's folder has files that keep a parser busy for ever or crash a decoder. A batch that takes too long, or whose
process dies, is done again file by file, and the one that did it is a broken file like any other.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import queue
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from medmm.data import allowance
from medmm.data.child import Child, Silence, serve
from medmm.errors import ImageError, Reason, StudyError, is_out_of_memory
from medmm.types import ImageSource

_Source = TypeVar("_Source", bound=ImageSource)

_FEW = 256
"""So many files are looked at here: they take no longer than a process takes to start."""


def look(
    task: str, sources: Iterable[_Source], *, limit_s: float, workers: int | None = None, batch: int = 64,
    whole: bool = False,
) -> Iterator[tuple[_Source, Any]]:  # fmt: skip
    """Call a function on each file, or on each of several images, which may consist of several files.

    Args:
        task: The function as ``module:name``; takes a source, gives what pickle can carry, raises ``StudyError`` only.
        sources: The files or images; taken as they are needed.
        limit_s: Longest that one file may take.
        workers: Processes; None: one a core, none for a few files. 0 works in this one, without a time limit.
        batch: Files that a process is given at a time.
        whole: Files are read to their end: large ones may take longer, and even a few are read by processes.

    Yields:
        The file, and what the function gave or the ``StudyError`` that it raised, in the order of ``sources``.

    Raises:
        RuntimeError: The function met a bug, which is named.
    """
    rest = iter(sources)
    few = 0 if whole else _FEW  # decoders may crash, parsers do not
    first = list(itertools.islice(rest, few + 1)) if workers is None else []
    every = itertools.chain(first, rest)
    if workers == 0 or (workers is None and len(first) <= few):
        function = _resolve(task)
        for source in every:
            yield source, _attempt(function, source)
        return
    pool = [_Process(task, limit_s, whole) for _ in range(workers or len(os.sched_getaffinity(0)))]
    try:
        yield from _shared_out(every, pool, batch)
    finally:
        for process in pool:
            process.end()


def _shared_out(paths: Iterator[_Source], pool: Sequence[_Process], batch: int) -> Iterator[tuple[_Source, Any]]:
    idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
    for process in pool:
        idle.put(process)

    def ask(files: Sequence[_Source]) -> list[Any]:
        process = idle.get()
        try:
            return process.ask(files)
        finally:
            idle.put(process)

    running: deque[tuple[Sequence[_Source], Future[list[Any]]]] = deque()
    with ThreadPoolExecutor(len(pool)) as threads:
        while files := tuple(itertools.islice(paths, batch)):
            running.append((files, threads.submit(ask, files)))
            if len(running) > 2 * len(pool):
                done, future = running.popleft()
                yield from zip(done, future.result(), strict=True)
        for done, future in running:
            yield from zip(done, future.result(), strict=True)


def _resolve(task: str) -> Callable[[Any], Any]:
    module, name = task.split(":")
    found: Callable[[Any], Any] = getattr(importlib.import_module(module), name)
    return found


def _attempt(function: Callable[[Any], Any], source: ImageSource) -> Any:
    try:
        return function(source)
    except StudyError as error:
        return error.with_traceback(None)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return ImageError(Reason.OUT_OF_MEMORY, "reading takes more memory than there is, or than it may", where="file")


class _Process:
    """A process that looks at files."""

    def __init__(self, task: str, limit_s: float, whole: bool = False) -> None:
        self._child = Child("medmm.data.apart", task)
        self._limit_s, self._whole = limit_s, whole
        self.end = self._child.end

    def ask(self, files: Sequence[ImageSource]) -> list[Any]:
        """Have some files looked at there."""
        limit = self._limit_s + 0.1 * (len(files) - 1)
        if self._whole:
            limit += sum(map(allowance.stored_bytes, files)) / allowance.BYTES_A_SECOND
        said = self._child.ask(list(files), limit)
        if not isinstance(said, Silence):
            return [_restored(*one) for one in said]
        if len(files) > 1:
            return [self.ask((path,))[0] for path in files]
        what = "the file cannot be read to its end: the reading process was stopped or died of it"
        return [ImageError(Reason.DECODE_FAILED, what, where="file", expected=f"at most {self._limit_s:g} s")]


def _record(answer: Any) -> tuple[bool, Any]:
    """Whether the function gave an answer, and the answer or what the error says: its keywords are lost to pickle."""
    if not isinstance(answer, StudyError):
        return True, answer
    told = {name: getattr(answer, name) for name in ("where", "got", "expected", "fix")}
    details = {name: None if one is None else str(one) for name, one in told.items()}
    return False, (type(answer), str(answer.reason), answer.what, details)


def _restored(is_answer: bool, said: Any) -> Any:
    if is_answer:
        return said
    kind, reason, what, details = said
    return kind(Reason(reason), what, **details)


def _looked(function: Callable[[Any], Any], files: Sequence[ImageSource]) -> list[tuple[bool, Any]]:
    said = []
    for source in files:
        with allowance.confined(source):
            said.append(_record(_attempt(function, source)))
    return said


if __name__ == "__main__":
    serve(functools.partial(_looked, _resolve(sys.argv[1])))
