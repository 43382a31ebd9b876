"""A program of medmm's own that is asked one thing at a time: it may hang or die without taking anybody along.

It is started as a program, so that a script needs no main guard, when it is first asked, and anew after each death.
Whatever it prints is lost: decoders quote what they stumble over. Both ends of its pipes are medmm's, so that pickle is
safe between them.
"""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from medmm.data import allowance

START_S = 120.0
"""Longest that a child takes to start."""
_LENGTH = struct.Struct("<Q")
_READY = "ready"


@dataclass(frozen=True, slots=True)
class Silence:
    """There is no answer: the child was stopped (``overdue``), or died by itself with an exit code."""

    code: int | None
    overdue: bool


class Child:
    """A running program.

    Args:
        module: What ``python -m`` runs; it calls :func:`serve`.
        words: Its arguments.
    """

    def __init__(self, module: str, *words: str) -> None:
        self._words = (sys.executable, "-m", module, *words)
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id, None while it does not run."""
        return None if self._running is None else self._running.pid

    def ask(self, message: Any, limit_s: float) -> Any:
        """Send a message and wait for the answer; :class:`Silence` where none comes.

        Raises:
            RuntimeError: The program met a bug, which is named, or does not start.
        """
        if self._running is None or self._running.poll() is not None:  # it died since, of something else
            self.end()
            self._running = self._started()
        running = self._running
        assert running.stdin is not None
        assert running.stdout is not None
        with _patience(running, limit_s) as overdue:
            try:
                _send(running.stdin, message)
                said = _receive(running.stdout)
            except BrokenPipeError:
                said = None
        if said is None:
            return Silence(self.end(), overdue.is_set())
        is_answer, value = said
        if not is_answer:
            raise RuntimeError(f"a reading process met a bug: {value}")
        return value

    def end(self) -> int | None:
        """End the program; its exit code, None if it does not run."""
        running, self._running = self._running, None
        if running is None:
            return None
        running.kill()
        running.communicate()
        return running.returncode

    def _started(self) -> subprocess.Popen[bytes]:
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        running = subprocess.Popen(
            self._words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the process that asks
        )
        assert running.stdout is not None
        with _patience(running, START_S):
            is_ready = _receive(running.stdout) == _READY
        if not is_ready:
            running.kill()
            running.communicate()
            raise RuntimeError(f"a reading process does not start: it ended with code {running.returncode}")
        return running


def serve(work: Callable[[Any], Any]) -> None:
    """Answer message after message until there are no more; the child's side."""
    with os.fdopen(os.dup(1), "wb") as answers:
        allowance.hush()
        _send(answers, _READY)
        while (message := _receive(sys.stdin.buffer)) is not None:
            _send(answers, answer(work, message))


def answer(work: Callable[[Any], Any], message: Any) -> tuple[bool, Any]:
    """True and what ``work`` gives, or False and kind and place of a bug: its message may quote a path or header."""
    try:
        return True, work(message)
    except Exception as error:
        frames = error.__traceback__
        while frames is not None and frames.tb_next is not None:
            frames = frames.tb_next
        place = f"{Path(frames.tb_frame.f_code.co_filename).name}:{frames.tb_lineno}" if frames else "unknown"
        return False, f"{type(error).__name__} in {place}"


def _send(stream: IO[bytes], said: Any) -> None:
    data = pickle.dumps(said, pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def _receive(stream: IO[bytes]) -> Any:
    """One message; None at the end."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    data = stream.read(length)
    return pickle.loads(data) if len(data) == length else None


@contextmanager
def _patience(running: subprocess.Popen[bytes], limit_s: float) -> Iterator[threading.Event]:
    """Kill a process that takes longer than the block may; the event says that it was."""
    overdue = threading.Event()

    def stop() -> None:
        overdue.set()
        running.kill()

    timer = threading.Timer(limit_s, stop)
    timer.start()
    try:
        yield overdue
    finally:
        timer.cancel()
