"""Images of studies read ahead, in processes that may die without taking the night's run with them.

A file that crashes a decoder, or keeps it busy for minutes, ends one reading process: its image is set aside and a new
process takes over. The processes do not import the learning stack. They are started as programs, so that a script which
calls :func:`medmm.score` needs no main guard.
"""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from medmm.config.schema import PreprocessConfig
from medmm.errors import Reason

LIMIT_S = 300.0
"""An image that takes longer to read is given up; the slowest real one takes a few seconds."""
_LENGTH = struct.Struct("<Q")  # each message is preceded by its length in bytes


@dataclass(frozen=True, slots=True)
class Unread:
    """Why a file gave no image; ``detail`` holds no patient data."""

    reason: Reason
    detail: str


View = npt.NDArray[np.float32] | Unread
"""``[1, S, S]`` in [0, 1], or why there is none."""


class ReaderPool:
    """Reads images ahead of the model. Use it as a context, which ends the processes.

    Args:
        preprocess: What the model was trained with.
        workers: Reading processes; 0 reads in this process when the result is asked for.
    """

    def __init__(self, preprocess: PreprocessConfig, workers: int) -> None:
        self._preprocess = preprocess
        self._threads = ThreadPoolExecutor(workers, "medmm-read") if workers else None
        self._local = threading.local()
        self._processes: list[_Process] = []
        self._guard = threading.Lock()

    def submit(self, paths: Sequence[Path]) -> Future[list[View]]:
        """Begin to read a study's images; the result holds one entry a path, in their order."""
        if self._threads is not None:
            return self._threads.submit(self._ask, tuple(paths))
        future: Future[list[View]] = Future()
        future.set_result([read_view(path, self._preprocess) for path in paths])
        return future

    def _ask(self, paths: Sequence[Path]) -> list[View]:
        return [self._ask_one(path) for path in paths]

    def _ask_one(self, path: Path) -> View:
        process: _Process | None = getattr(self._local, "process", None)
        if process is None:
            process = self._local.process = _Process(self._preprocess)
            with self._guard:
                self._processes.append(process)
        try:
            return process.read(path)
        except (EOFError, BrokenPipeError):
            code = process.end()
            with self._guard:
                self._processes.remove(process)
            self._local.process = None
            return Unread(Reason.DECODE_FAILED, f"the reading process ended with code {code} on this file")

    def __enter__(self) -> ReaderPool:
        return self

    def __exit__(self, *exception: object) -> None:
        with self._guard:
            for process in self._processes:
                process.end()
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)


class _Process:
    """One reading process and the two pipes to it."""

    def __init__(self, preprocess: PreprocessConfig) -> None:
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "medmm.scoring.reading"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the process that scores; a reader ends when its pipe does
        )
        self._send(preprocess.model_dump())

    def read(self, path: Path) -> View:
        """Read one image there.

        Raises:
            EOFError: The process died.
            BrokenPipeError: It had died before.
            RuntimeError: It met a bug, which is named.
        """
        assert self._process.stdout is not None
        patience = threading.Timer(LIMIT_S, self._process.kill)
        patience.start()
        try:
            self._send(str(path))
            answer = _receive(self._process.stdout)
        finally:
            patience.cancel()
        if isinstance(answer, str):
            raise RuntimeError(f"a reading process met a bug: {answer}")
        return answer  # type: ignore[no-any-return]

    def end(self) -> int:
        """End the process; its exit code."""
        self._process.kill()
        code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        return code

    def _send(self, message: Any) -> None:
        assert self._process.stdin is not None
        _write(self._process.stdin, message)


def read_view(path: Path, preprocess: PreprocessConfig) -> View:
    """Read one image as the model was trained to see it, or say why that fails."""
    raise NotImplementedError


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until they end: first the preprocessing, then one path after the other."""
    preprocess = PreprocessConfig(**_receive(requests))
    while True:
        try:
            path = Path(_receive(requests))
        except EOFError:
            return
        try:
            answer: View | str = read_view(path, preprocess)
        except Exception as error:
            frames = error.__traceback__
            while frames is not None and frames.tb_next is not None:
                frames = frames.tb_next
            place = f"{Path(frames.tb_frame.f_code.co_filename).name}:{frames.tb_lineno}" if frames else "unknown place"
            answer = f"{type(error).__name__} in {place}"  # its message may quote a path
        _write(answers, answer)


def _write(pipe: IO[bytes], message: Any) -> None:
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.write(_LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return pickle.loads(data)


def _main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder prints must not get between the answers
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    _main()
