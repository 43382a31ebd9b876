"""Lookup tables of modality, VOI and presentation (PS3.3 C.11.1.1.1, C.11.2.1.1, C.11.4.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medmm.io import elements

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

DESCRIPTOR, EXPLANATION, LUT_DATA = 0x00283002, 0x00283003, 0x00283006
_ALL = 1 << 16
"""Entries of a table whose descriptor says 0; a 16-bit number cannot say more than 65535."""
_SIGN = 1 << 15


@dataclass(frozen=True, slots=True)
class Table:
    """A lookup table (PS3.3 C.11.1.1.1).

    Attributes:
        first: Input value of the first entry; values below get the first entry, values beyond the last one.
        entries: float32 ``[N]``.
        bits: Bits of an entry; the output range is 0 to ``2**bits - 1``.
    """

    first: int
    entries: npt.NDArray[np.float32]
    bits: int

    def lookup(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Entries for whole numbers."""
        return self.entries[np.clip(values.astype(np.int64) - self.first, 0, len(self.entries) - 1)]

    def display(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Map ``values`` to [0, 1]; between two entries in a straight line, since resizing leaves whole numbers."""
        inputs = self.first + np.arange(len(self.entries))
        shown = np.interp(values, inputs, self.entries / float((1 << self.bits) - 1))
        return np.clip(shown, 0, 1).astype(np.float32)

    def present(self, grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Map grey in [0, 1] to P-values in [0, 1]: the whole input range is spread over all entries."""
        return self.display(grey * np.float32(len(self.entries) - 1) + np.float32(self.first))


def table_of(dataset: Dataset, signed: bool) -> Table:
    """Read one item of a LUT sequence.

    Args:
        dataset: The item.
        signed: Whether the values that go into the table may be negative. Implicit VR leaves it open what the first
            value is, and explicit VR may say US where it is signed.

    Raises:
        ImageError: ``HEADER_INVALID``: descriptor or data are missing or too short.
    """
    count, first, bits = descriptor_of(dataset, DESCRIPTOR, signed)
    entries = entries_of(dataset, LUT_DATA, count)
    if len(entries) < count:
        raise elements.invalid(LUT_DATA, f"{count} entries")
    return Table(first, entries.astype(np.float32), bits)


def descriptor_of(dataset: Dataset, tag: int, signed: bool) -> tuple[int, int, int]:
    """Number of entries, first input value and bits of an entry.

    Raises:
        ImageError: ``HEADER_INVALID``: they are missing or cannot be.
    """
    values = elements.numbers(dataset, tag, "US")[:3]
    if len(values) < 3 or not np.isfinite(values).all() or not 1 <= values[2] <= 16:
        raise elements.invalid(tag, "three numbers, the last from 1 to 16")
    count, first, bits = (int(value) for value in values)
    first = (first + _SIGN) % _ALL - _SIGN if signed or first < 0 else first % _ALL
    return count % _ALL or _ALL, first, bits


def entries_of(dataset: Dataset, tag: int, count: int | None, in_words: bool = False) -> npt.NDArray[Any]:
    """The entries of a table, one a word or, where there are not bytes enough for that, one a byte.

    Args:
        dataset: Where the table lies.
        tag: Of its data.
        count: Entries that there should be; there may be fewer. None: all that there are.
        in_words: Whether they fill words, where ``count`` does not tell.
    """
    data = elements.raw_bytes(dataset, tag) or b""
    element: Any = dataset.get_item(tag)
    order = "<" if getattr(element, "is_little_endian", True) else ">"
    if in_words if count is None else len(data) >= 2 * count:
        return np.frombuffer(data, f"{order}u2", len(data) // 2 if count is None else count)
    if order == ">" and element is not None and element.VR == "OW" and len(data) % 2 == 0:
        # bytes were swapped within their words
        data = np.frombuffer(data, ">u2").astype("<u2").tobytes()
    return np.frombuffer(data, np.uint8, len(data) if count is None else min(count, len(data)))
