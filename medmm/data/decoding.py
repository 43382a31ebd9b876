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

import numpy as np
import numpy.typing as npt

from medmm.config.schema import PreprocessConfig
from medmm.errors import ImageError, Reason

LIMIT_S = 300.0
"""An image that takes longer to read is given up; the slowest real one takes a few seconds."""
WHITE = 65535
"""The stored value of 1.0."""
_PASSING = {Reason.FILE_MISSING, Reason.FILE_UNREADABLE}  # what is wrong with the place, not with the content


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


def shape_of(preprocess: PreprocessConfig) -> tuple[int, ...]:
    """Shape of a view: ``(1, S, S)``, or ``(1, D, S, S)`` for volumes."""
    sides = (preprocess.size, preprocess.size)
    return (1, *sides) if preprocess.depth is None else (1, preprocess.depth, *sides)


def read_stored(path: Path, preprocess: PreprocessConfig) -> npt.NDArray[np.uint16]:
    """Read one image as it is stored: of the shape of :func:`shape_of`, 65535 standing for 1.0.

    Raises:
        ImageError: The file gives no image, or a volume where a projection is asked for or the reverse.
    """
    from medmm.io.image import read_image

    array = read_image(path, size=preprocess.size, window="auto").array
    wanted = shape_of(preprocess)
    if array.ndim == 4 and len(wanted) == 3 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != len(wanted):
        got = f"a volume of {array.shape[1]} slices" if array.ndim == 4 else "a projection"
        expected = "a projection" if len(wanted) == 3 else "a volume"
        raise ImageError(Reason.DIMENSIONS_MISMATCH, "an image of the wrong kind", got=got, expected=expected)
    if array.ndim == 4:
        array = _with_depth(array, wanted[1])
    return np.rint(np.clip(array, 0, 1) * WHITE).astype(np.uint16)


def _with_depth(volume: npt.NDArray[np.float32], depth: int) -> npt.NDArray[np.float32]:
    """Stretch ``[1, D, S, S]`` along D: area averaging, linear where enlarged."""
    import cv2

    _, slices, rows, columns = volume.shape
    flat = np.ascontiguousarray(volume[0].reshape(slices, rows * columns))
    way = cv2.INTER_AREA if depth < slices else cv2.INTER_LINEAR
    strips = np.array_split(flat, max(1, flat.shape[1] // 16384), axis=1)  # OpenCV takes no side over 32767
    done = [cv2.resize(np.ascontiguousarray(strip), (strip.shape[1], depth), interpolation=way) for strip in strips]
    return np.concatenate(done, axis=1, dtype=np.float32).reshape(1, depth, rows, columns)


def attempt(job: Job, preprocess: PreprocessConfig) -> Outcome:
    """Read one image and write it to its place.

    Raises:
        OSError: It cannot be written.
    """
    try:
        array = read_stored(job.path, preprocess)
    except ImageError as error:
        return Outcome(job, error.reason, error.detail, lasting=error.reason not in _PASSING)
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
        """Have one image read there."""
        if self._running is None:
            self._running = self._start()
        running = self._running
        assert running.stdin is not None
        assert running.stdout is not None
        patience = threading.Timer(LIMIT_S, running.kill)
        patience.start()
        try:
            running.stdin.write(json.dumps([str(job.path), str(job.target), job.offset]) + "\n")
            running.stdin.flush()
            answer = running.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            patience.cancel()
        if not answer:
            code = self.end()
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
        return subprocess.Popen(
            [sys.executable, "-m", "medmm.data.decoding", *self._words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the process that trains
            text=True,
        )


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
    os.dup2(2, 1)  # what a decoder says must not get between the answers
    preprocess = PreprocessConfig.model_validate_json(sys.argv[1])

    def say(line: str) -> None:
        answers.write(line + "\n")
        answers.flush()

    serve(sys.stdin, say, lambda job: attempt(job, preprocess))


if __name__ == "__main__":
    _main()
