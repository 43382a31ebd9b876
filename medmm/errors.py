"""Errors that medmm raises on purpose: each says what, where, what was got, what was expected, and the fix.

No message may hold patient data: a study is named ``study#`` plus eight hex digits, see :func:`medmm.types.study_tag`.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from enum import IntEnum, StrEnum

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_WORDS = ("no space left on device", "disk quota exceeded", "disk is full", "os error 28)", "os error 122)")
_OUT_OF_MEMORY = {"MemoryError", "OutOfMemoryError", "_ArrayMemoryError"}
_OUT_OF_MEMORY_WORDS = (
    "can't allocate memory", "not enough memory", "out of memory", "status_alloc_failed", "insufficient memory",
)  # fmt: skip


class ExitCode(IntEnum):
    """Exit status of every stage."""

    DONE = 0
    BUG = 1
    QUARANTINED = 10
    USAGE = 2
    RESOURCE = 3
    CHECKPOINT = 4
    INTERRUPTED = 130


class Reason(StrEnum):
    """Why a study, an image or a report was set aside; stands in ``quarantine.jsonl``, ``pairing.json`` and errors."""

    FILE_MISSING = "file_missing"
    FILE_EMPTY = "file_empty"
    FILE_UNREADABLE = "file_unreadable"
    NOT_AN_IMAGE = "not_an_image"
    NO_PIXELS = "no_pixels"
    HEADER_INVALID = "header_invalid"
    SYNTAX_UNSUPPORTED = "syntax_unsupported"
    DECODE_FAILED = "decode_failed"
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"
    OUT_OF_MEMORY = "out_of_memory"
    DIMENSIONS_MISMATCH = "dimensions_mismatch"
    GEOMETRY_MISSING = "geometry_missing"
    GEOMETRY_REFUSED = "geometry_refused"
    IMAGE_SURPLUS = "image_surplus"
    IMAGE_DUPLICATE = "image_duplicate"
    IMAGE_WITHOUT_REPORT = "image_without_report"
    IMAGE_WITHOUT_MASK = "image_without_mask"
    IMAGE_WITHOUT_QUESTION = "image_without_question"
    QUESTION_WITHOUT_IMAGE = "question_without_image"
    REFERENCE_WITHHELD = "reference_withheld"
    PATH_OUTSIDE = "path_outside"
    REPORT_WITHOUT_IMAGE = "report_without_image"
    REPORT_EMPTY = "report_empty"
    REPORT_UNREADABLE = "report_unreadable"
    REPORT_SHARED = "report_shared"
    REPORT_SURPLUS = "report_surplus"
    SECTION_MISSING = "section_missing"
    LABEL_MISSING = "label_missing"
    LABEL_UNKNOWN = "label_unknown"
    SPLIT_UNKNOWN = "split_unknown"
    ROW_INVALID = "row_invalid"
    STUDY_DUPLICATE = "study_duplicate"


class MedmmError(Exception):
    """A failure that the caller can act on.

    Args:
        what: What went wrong, as a sentence without a full stop.
        where: File kind, key or place; never a patient's path or name.
        got: The offending value.
        expected: What would have been right.
        fix: What to do about it.
    """

    exit_code: ExitCode = ExitCode.USAGE

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        got: object = None,
        expected: object = None,
        fix: str | None = None,
    ) -> None:
        self.what, self.where, self.got, self.expected, self.fix = what, where, got, expected, fix
        super().__init__(self._message())

    @property
    def detail(self) -> str:
        """What went wrong, what was got and what was expected; beside a file's name nothing more need be said."""
        parts = [self.what]
        if self.got is not None:
            parts.append(f"got {self.got}")
        if self.expected is not None:
            parts.append(f"expected {self.expected}")
        return "; ".join(parts)

    def _message(self) -> str:
        message = f"{self.where}: {self.detail}" if self.where else self.detail
        return f"{message}. {self.fix}" if self.fix else message


class UsageError(MedmmError):
    """The command line asks for something that cannot be."""


class ConfigError(MedmmError):
    """A config with one or more wrong entries; ``problems`` lists every one of them."""

    def __init__(self, problems: Sequence[str], *, where: str | None = None) -> None:
        self.problems = tuple(problems)
        lines = "".join(f"\n  - {problem}" for problem in self.problems)
        count = len(self.problems)
        super().__init__(f"{count} {'problem' if count == 1 else 'problems'} in the config{lines}", where=where)


class DataError(MedmmError):
    """A data source that cannot be used as a whole (wrong column, empty folder, no such path)."""


class StudyError(MedmmError):
    """One study, image or report that cannot be used; the run sets it aside under ``reason`` and goes on."""

    def __init__(self, reason: Reason, what: str, **details: object) -> None:
        self.reason = reason
        super().__init__(what, **details)  # type: ignore[arg-type]


class ImageError(StudyError):
    """A file that gives no usable image."""


class ReportError(StudyError):
    """A report that gives no usable text."""


class ResourceError(MedmmError):
    """Out of disk or memory."""

    exit_code = ExitCode.RESOURCE


class TrainingError(MedmmError):
    """Training that cannot go on: the loss is no finite number."""


class CheckpointError(MedmmError):
    """A checkpoint or run that is refused: a pickle, another config's, an unknown format, foreign preprocessing."""

    exit_code = ExitCode.CHECKPOINT


def is_full_disk(error: BaseException) -> bool:
    """Whether ``error`` says that a disk or a quota is full, in the words of Python, Rust, Arrow or SQLite."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL
    text = str(error).lower()
    return any(words in text for words in _FULL_WORDS)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; torch has a class of its own for a GPU and a plain RuntimeError for a CPU, OpenCV one."""
    if type(error).__name__ in _OUT_OF_MEMORY or isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    words = str(error).lower()
    may_say = isinstance(error, RuntimeError) or type(error).__module__ == "cv2"
    return may_say and any(said in words for said in _OUT_OF_MEMORY_WORDS)
