"""Images read in processes of their own, straight into their rows of a file.

The processes do not import the learning stack. They are started as programs, so that a script that trains needs no main
guard, and a file that crashes a decoder ends one of them and costs one image.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medmm.config.schema import PreprocessConfig
from medmm.data import allowance
from medmm.data.stored_image import WHITE, read_stored, shape_of
from medmm.errors import ImageError, Reason, is_out_of_memory

__all__ = ["WHITE", "Job", "Outcome", "Readers", "ReadingProcess", "attempt", "read_stored", "serve", "shape_of"]

LIMIT_S = 300.0
"""An image that takes longer to read is given up, however large; see :mod:`medmm.data.allowance` for others."""
START_S = 120.0
"""Longest that a reading process takes to start."""
_PASSING = {Reason.FILE_MISSING, Reason.FILE_UNREADABLE, Reason.TOO_SLOW}  # the place is wrong, not the content


@dataclass(frozen=True, slots=True)
class Job:
    """One image.

    Attributes:
        path: What it is read from.
        target: An existing file that its pixels are written to.
        offset: Where in it they begin, in bytes.
        key: What the one who asks knows it by.
    """

    path: Path
    target: Path
    offset: int
    key: bytes = b""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job.

    Attributes:
        job: The job.
        reason: None when the pixels are written.
        detail: Why not, as a sentence without patient data.
        checksum: CRC-32 of what was written.
        lasting: Whether the file would give the same again; not so where a process died, perhaps for want of memory.
    """

    job: Job
    reason: Reason | None = None
    detail: str = ""
    checksum: int = 0
    lasting: bool = True


def attempt(job: Job, preprocess: PreprocessConfig) -> Outcome:
    """Read one image and write it to its place.

    Raises:
        OSError: It cannot be written.
    """
    try:
        array = read_stored(job.path, preprocess)
    except ImageError as error:
        return Outcome(job, error.reason, error.detail, lasting=error.reason not in _PASSING)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        detail = "reading the file takes more memory than there is, or than it may take"
        return Outcome(job, Reason.OUT_OF_MEMORY, detail, lasting=False)
    data = memoryview(array.tobytes())
    checksum = zlib.crc32(data)
    place = job.offset
    with _opened(job.target) as file:
        while data:
            written = os.pwrite(file, data, place)
            data, place = data[written:], place + written
    return Outcome(job, checksum=checksum)


class Readers:
    """Processes that read images; they start when they are first needed.

    Args:
        preprocess: Size and window.
        workers: Processes; 0 reads in this one.
    """

    def __init__(self, preprocess: PreprocessConfig, workers: int) -> None:
        self._preprocess = preprocess
        self._processes = [ReadingProcess(preprocess) for _ in range(workers)]
        self._idle: queue.SimpleQueue[ReadingProcess] = queue.SimpleQueue()
        for process in self._processes:
            self._idle.put(process)

    def __enter__(self) -> Readers:
        return self

    def __exit__(self, *details: object) -> None:
        """End the processes, whatever they are doing."""
        for process in self._processes:
            process.end()

    def read(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Read images, in any order; jobs are asked for as they can be begun.

        Raises:
            OSError: Pixels cannot be written, for instance because the disk is full.
            RuntimeError: A reading process met a bug, which is named.
        """
        if not self._processes:
            yield from (attempt(job, self._preprocess) for job in jobs)
            return
        with ThreadPoolExecutor(len(self._processes)) as threads:
            running: set[Future[Outcome]] = set()
            try:
                for job in jobs:
                    running.add(threads.submit(self._ask, job))
                    if len(running) >= 2 * len(self._processes):
                        done, running = wait(running, return_when=FIRST_COMPLETED)
                        yield from (one.result() for one in done)
                yield from (one.result() for one in as_completed(running))
            finally:
                for one in running:
                    one.cancel()

    def _ask(self, job: Job) -> Outcome:
        process = self._idle.get()
        try:
            return process.ask(job)
        finally:
            self._idle.put(process)


class ReadingProcess:
    """A reading process, started anew after each crash."""

    def __init__(self, preprocess: PreprocessConfig) -> None:
        self._words = (preprocess.model_dump_json(),)
        self._running: subprocess.Popen[str] | None = None

    def ask(self, job: Job) -> Outcome:
        """Have one image read there.

        Raises:
            OSError: Its pixels cannot be written.
            RuntimeError: The process met a bug, which is named, or does not start.
        """
        if self._running is None:
            self._running = self._start()
        running = self._running
        assert running.stdin is not None
        assert running.stdout is not None
        limit = min(LIMIT_S, allowance.seconds(job.path))
        with _patience(running, limit) as overdue:
            try:
                running.stdin.write(json.dumps([str(job.path), str(job.target), job.offset]) + "\n")
                running.stdin.flush()
                answer = running.stdout.readline()
            except BrokenPipeError:
                answer = ""
        if not answer:
            code = self.end()
            if overdue.is_set():
                return Outcome(job, Reason.TOO_SLOW, f"the file is not read after {limit:.0f} s", lasting=False)
            detail = f"the reading process ended with code {code} on this file"
            return Outcome(job, Reason.DECODE_FAILED, detail, lasting=False)
        said: dict[str, Any] = json.loads(answer)
        if "errno" in said:
            raise OSError(said["errno"], os.strerror(said["errno"]))
        if "bug" in said:
            raise RuntimeError(f"a reading process met a bug: {said['bug']}")
        reason = Reason(said["reason"]) if said["reason"] else None
        return Outcome(job, reason, said["detail"], said["checksum"], said["lasting"])

    def end(self) -> int | None:
        """End the process; its exit code, None if it has not run."""
        running, self._running = self._running, None
        if running is None:
            return None
        running.kill()
        code = running.wait()
        for pipe in (running.stdin, running.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        return code

    def _start(self) -> subprocess.Popen[str]:
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        running = subprocess.Popen(
            [sys.executable, "-m", "medmm.data.decoding", *self._words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the process that trains
            text=True,
        )
        assert running.stdout is not None
        with _patience(running, START_S):
            ready = running.stdout.readline()
        if not ready:
            running.kill()
            running.communicate()
            raise RuntimeError(f"a reading process does not start: it ended with code {running.returncode}")
        return running


@contextmanager
def _patience(running: subprocess.Popen[str], limit_s: float) -> Iterator[threading.Event]:
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


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


def serve(requests: Iterable[str], answer: Callable[[str], None], work: Callable[[Job], Outcome]) -> None:
    """Answer one line of JSON with another until there are no more."""
    for line in requests:
        path, target, offset = json.loads(line)
        said: dict[str, Any]
        try:
            outcome = work(Job(Path(path), Path(target), offset))
            said = {name: getattr(outcome, name) for name in ("reason", "detail", "checksum", "lasting")}
        except OSError as error:
            said = {"errno": error.errno or 5}
        except Exception as error:
            frames = error.__traceback__
            while frames is not None and frames.tb_next is not None:
                frames = frames.tb_next
            place = f"{Path(frames.tb_frame.f_code.co_filename).name}:{frames.tb_lineno}" if frames else "unknown"
            said = {"bug": f"{type(error).__name__} in {place}"}  # its message may quote a path
        answer(json.dumps(said))


def _main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    preprocess = PreprocessConfig.model_validate_json(sys.argv[1])
    import medmm.io.image  # noqa: F401 - not on the first file's time

    allowance.hush()

    def say(line: str) -> None:
        answers.write(line + "\n")
        answers.flush()

    def work(job: Job) -> Outcome:
        with allowance.confined(job.path):
            return attempt(job, preprocess)

    say("ready")
    serve(sys.stdin, say, work)


if __name__ == "__main__":
    _main()
