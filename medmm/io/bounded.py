"""Files that a parser can be let loose on: never more bytes than they hold, never longer than a header may take.

pydicom asks for as many bytes as an element claims, and goes on for as long as there are elements: a file of a few
megabytes can hold a million of them, a deflated one of a kilobyte as many.
"""

from __future__ import annotations

import io
import math
import time

LIMIT_S = 5.0
"""Longest that the elements of a file, or the items of one sequence, are parsed; real ones take milliseconds."""
_LONG_READ = 1 << 16


class OverdueError(Exception):
    """Parsing has taken too long."""


class BoundedFile(io.BufferedReader):
    """A file that never hands a length beyond its end to the allocator, and that ends a parser which goes on too long.

    Args:
        raw: The file, or bytes in memory.
        length: Its length in bytes.

    From ``LIMIT_S`` seconds after it was opened it cannot be read any more.
    """

    def __init__(self, raw: io.RawIOBase | io.BytesIO, length: int) -> None:
        super().__init__(raw)  # type: ignore[arg-type]
        self.length = length
        self._until = time.monotonic() + LIMIT_S

    @property
    def name(self) -> str:  # type: ignore[override]
        """None to tell: pydicom puts it into messages."""
        return "file"

    def relax(self) -> None:
        """Take all the time that it takes: what follows is no parsing."""
        self._until = math.inf

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most ``size`` bytes.

        Raises:
            OverdueError: The time is over.
        """
        if time.monotonic() > self._until:
            raise OverdueError
        if size is not None and size > _LONG_READ:
            size = min(size, max(0, self.length - self.tell()))
        return super().read(size)
