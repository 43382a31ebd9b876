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
MOST_ITEMS = 1 << 17
"""Items of one sequence; the longest that are known have one for each of some ten thousand frames."""
_LONG_READ = 1 << 16
_ITEM = b"\xfe\xff\x00\xe0"
_UNDEFINED = 0xFFFFFFFF


class OverdueError(Exception):
    """Parsing has taken too long."""


class BoundedFile(io.BufferedReader):
    """A file that never hands a length beyond its end to the allocator, and that ends a parser which goes on too long.

    Args:
        raw: The file, or bytes in memory.
        length: Its length in bytes.

    From ``LIMIT_S`` seconds after it was opened it cannot be read any more.

    Attributes:
        length: Its length in bytes.
        is_overdue: Whether it was read after that; the parser may have made another error of it.
    """

    def __init__(self, raw: io.RawIOBase | io.BytesIO, length: int) -> None:
        super().__init__(raw)  # type: ignore[arg-type]
        self.length = length
        self.is_overdue = False
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
            self.is_overdue = True
            raise OverdueError
        if size is not None and size > _LONG_READ:
            size = min(size, max(0, self.length - self.tell()))
        return super().read(size)


def has_too_many_items(value: bytes) -> bool:
    """Whether a little-endian sequence has more than ``MOST_ITEMS`` items in front of the first of unknown length.

    To parse them takes a hundred times as long.
    """
    position = count = 0
    while count <= MOST_ITEMS and value[position : position + 4] == _ITEM:
        length = int.from_bytes(value[position + 4 : position + 8], "little")
        if length == _UNDEFINED:
            return False
        position += 8 + length
        count += 1
    return count > MOST_ITEMS
