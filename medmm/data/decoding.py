"""Images read in processes of their own, straight into their rows of a file.

The processes do not import the learning stack; a file that crashes a decoder ends one of them and costs one image.
"""

from __future__ import annotations

import functools
import os
import queue
import sys
import traceback
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medmm.config.schema import PreprocessConfig
from medmm.data import allowance
from medmm.data.child import Child, Silence, serve
from medmm.data.stored_image import WHITE, read_stored, shape_of
from medmm.errors import ImageError, Reason, is_out_of_memory
from medmm.types import ImageSource

__all__ = ["WHITE", "Job", "Outcome", "Readers", "ReadingProcess", "attempt", "read_stored", "shape_of"]

LIMIT_S = 300.0
"""An image that takes longer to read is given up, however large; see :mod:`medmm.data.allowance` for others."""
_PASSING = {Reason.FILE_MISSING, Reason.FILE_UNREADABLE, Reason.TOO_SLOW}  # the place is wrong, not the content


@dataclass(frozen=True, slots=True)
class Job:
    """One image.

    Attributes:
        source: What it is read from.
        target: An existing file that its pixels are written to.
        offset: Where in it they begin, in bytes.
        key: What the one who asks knows it by.
    """

    source: ImageSource
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
        array = read_stored(job.source, preprocess)
    except ImageError as error:
        return Outcome(job, error.reason, error.detail, lasting=error.reason not in _PASSING)
    except Exception as error:
        if not is_out_of_memory(error):  # one file of a night's thousands must not end the night, whatever it met
            met = traceback.extract_tb(error.__traceback__)[-1]
            detail = f"a bug in medmm: {type(error).__name__} at {Path(met.filename).name}:{met.lineno}"
            return Outcome(job, Reason.DECODE_FAILED, detail, lasting=False)
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
    """A process that reads images, one at a time."""

    def __init__(self, preprocess: PreprocessConfig) -> None:
        self.child = Child("medmm.data.decoding", preprocess.model_dump_json())
        self.end = self.child.end

    def ask(self, job: Job) -> Outcome:
        """Have one image read there.

        Raises:
            OSError: Its pixels cannot be written.
            RuntimeError: The process met a bug, which is named, or does not start.
        """
        limit = min(LIMIT_S, allowance.seconds(job.source))
        said = self.child.ask((job.source, job.target, job.offset), limit)
        if isinstance(said, Silence):
            if said.overdue:
                return Outcome(job, Reason.TOO_SLOW, f"the file is not read after {limit:.0f} s", lasting=False)
            detail = f"the reading process ended with code {said.code} on this file"
            return Outcome(job, Reason.DECODE_FAILED, detail, lasting=False)
        if "errno" in said:
            raise OSError(said["errno"], os.strerror(said["errno"]))
        return Outcome(job, **said)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


def _read(preprocess: PreprocessConfig, message: tuple[ImageSource, Path, int]) -> dict[str, Any]:
    """Read an image as :meth:`ReadingProcess.ask` asks for it; the process's side."""
    job = Job(*message)
    try:
        with allowance.confined(job.source):
            outcome = attempt(job, preprocess)
    except OSError as error:
        return {"errno": error.errno or 5}
    return {name: getattr(outcome, name) for name in ("reason", "detail", "checksum", "lasting")}


if __name__ == "__main__":
    import medmm.io.image  # noqa: F401 - not on the first file's time

    serve(functools.partial(_read, PreprocessConfig.model_validate_json(sys.argv[1])))
