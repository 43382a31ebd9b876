"""Files looked at by processes that may die without taking anybody along; answers come in the order of the files.

A hospital's folder has files that keep a parser busy for ever or crash a decoder. A batch that takes too long, or whose
process dies, is done again file by file, and the one that did it is a broken file like any other. The processes are
started as programs, so that a script needs no main guard, and import no learning stack.
"""

from __future__ import annotations

import importlib
import itertools
import os
import pickle
import queue
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from medmm.data import allowance
from medmm.errors import ImageError, Reason, StudyError, is_out_of_memory

_FEW = 256
"""So many files are looked at here: they take no longer than a process takes to start."""
_LENGTH = struct.Struct("<Q")


def look(
    task: str, paths: Iterable[Path], *, limit_s: float, workers: int | None = None, batch: int = 64,
    whole: bool = False,
) -> Iterator[tuple[Path, Any]]:  # fmt: skip
    """Call a function on each file.

    Args:
        task: The function as ``module:name``; takes a path, gives what pickle can carry, raises ``StudyError`` only.
        paths: The files; taken as they are needed.
        limit_s: Longest that one file may take.
        workers: Processes; None: one a core, none for a few files. 0 works in this one, without a time limit.
        batch: Files that a process is given at a time.
        whole: Files are read to their end: large ones may take longer, and even a few are read by processes.

    Yields:
        The file, and what the function gave or the ``StudyError`` that it raised, in the order of ``paths``.

    Raises:
        RuntimeError: The function met a bug, which is named.
    """
    rest = iter(paths)
    few = 0 if whole else _FEW  # decoders may crash, parsers do not
    first = list(itertools.islice(rest, few + 1)) if workers is None else []
    every = itertools.chain(first, rest)
    if workers == 0 or (workers is None and len(first) <= few):
        function = _resolve(task)
        for path in every:
            yield path, _attempt(function, path)
        return
    pool = [_Process(task, limit_s, whole) for _ in range(workers or len(os.sched_getaffinity(0)))]
    try:
        yield from _shared_out(every, pool, batch)
    finally:
        for process in pool:
            process.end()


def _shared_out(paths: Iterator[Path], pool: Sequence[_Process], batch: int) -> Iterator[tuple[Path, Any]]:
    idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
    for process in pool:
        idle.put(process)

    def ask(files: Sequence[Path]) -> list[Any]:
        process = idle.get()
        try:
            return process.ask(files)
        finally:
            idle.put(process)

    running: deque[tuple[Sequence[Path], Future[list[Any]]]] = deque()
    with ThreadPoolExecutor(len(pool)) as threads:
        while files := tuple(itertools.islice(paths, batch)):
            running.append((files, threads.submit(ask, files)))
            if len(running) > 2 * len(pool):
                done, future = running.popleft()
                yield from zip(done, future.result(), strict=True)
        for done, future in running:
            yield from zip(done, future.result(), strict=True)


def _resolve(task: str) -> Callable[[Path], Any]:
    module, name = task.split(":")
    found: Callable[[Path], Any] = getattr(importlib.import_module(module), name)
    return found


def _attempt(function: Callable[[Path], Any], path: Path) -> Any:
    try:
        return function(path)
    except StudyError as error:
        return error.with_traceback(None)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return ImageError(Reason.OUT_OF_MEMORY, "reading takes more memory than there is, or than it may", where="file")


class _Process:
    """A process that looks at files, started when first asked and anew after each death."""

    def __init__(self, task: str, limit_s: float, whole: bool = False) -> None:
        self._task, self._limit_s, self._whole = task, limit_s, whole
        self._running: subprocess.Popen[bytes] | None = None

    def ask(self, files: Sequence[Path]) -> list[Any]:
        """Have some files looked at there."""
        answers = self._answers(files)
        if answers is not None:
            return answers
        if len(files) > 1:
            return [self.ask((path,))[0] for path in files]
        what = "the file cannot be read to its end: the reading process was stopped or died of it"
        return [ImageError(Reason.DECODE_FAILED, what, where="file", expected=f"at most {self._limit_s:g} s")]

    def _answers(self, files: Sequence[Path]) -> list[Any] | None:
        """What the process says; None where it was too slow or died of it."""
        if self._running is None or self._running.poll() is not None:  # dead since the last batch, of something else
            self.end()
            self._running = _start(self._task)
        running = self._running
        assert running.stdin is not None
        assert running.stdout is not None
        limit = self._limit_s + 0.1 * (len(files) - 1)
        if self._whole:
            limit += sum(map(allowance.stored_bytes, files)) / allowance.BYTES_A_SECOND
        patience = threading.Timer(limit, running.kill)
        patience.start()
        try:
            _send(running.stdin, [str(path) for path in files])
            said = _receive(running.stdout)
        except BrokenPipeError:
            said = None
        finally:
            patience.cancel()
        if said is None:
            self.end()
            return None
        if isinstance(said, str):
            raise RuntimeError(f"a reading process met a bug: {said}")
        return [_restored(*one) for one in said]

    def end(self) -> None:
        """End the process, if it runs."""
        running, self._running = self._running, None
        if running is not None:
            running.kill()
            running.communicate()


def _start(task: str) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return subprocess.Popen(
        [sys.executable, "-m", "medmm.data.apart", task],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        start_new_session=True,  # Ctrl-C is for the process that asks
    )


def _send(stream: IO[bytes], said: Any) -> None:
    data = pickle.dumps(said, pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def _receive(stream: IO[bytes]) -> Any:
    """One message; None at the end. Both ends of the pipe are this program's own, so pickle is safe here."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    data = stream.read(length)
    return pickle.loads(data) if len(data) == length else None


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


def _confined(function: Callable[[Path], Any], path: Path) -> Any:
    with allowance.confined(path):
        return _attempt(function, path)


def _serve(function: Callable[[Path], Any], requests: IO[bytes], answers: IO[bytes]) -> None:
    while (files := _receive(requests)) is not None:
        said: Any
        try:
            said = [_record(_confined(function, Path(path))) for path in files]
        except Exception as error:  # the kind alone: its text may quote the header
            said = type(error).__name__
        _send(answers, said)


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "wb") as channel:
        function = _resolve(sys.argv[1])
        allowance.hush()
        _serve(function, sys.stdin.buffer, channel)
