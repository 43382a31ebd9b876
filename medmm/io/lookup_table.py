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
    descriptor = elements.numbers(dataset, DESCRIPTOR, "US")
    data = elements.raw_bytes(dataset, LUT_DATA)
    if len(descriptor) < 3 or data is None:
        raise elements.invalid(LUT_DATA, "a descriptor of three numbers, and data")
    count, first, bits = (int(value) for value in descriptor[:3])
    count = count % _ALL or _ALL
    first %= _ALL
    if signed and first >= _SIGN:
        first -= _ALL
    entries = _entries(dataset, data, count)
    if len(entries) < count or not 1 <= bits <= 16:
        raise elements.invalid(LUT_DATA, f"{count} entries of 1 to 16 bits")
    return Table(first, entries.astype(np.float32), bits)


def _entries(dataset: Dataset, data: bytes, count: int) -> npt.NDArray[Any]:
    """The entries, one a word or, where there are not bytes enough for that, one a byte."""
    element: Any = dataset.get_item(LUT_DATA)
    order = "<" if getattr(element, "is_little_endian", True) else ">"
    if len(data) >= 2 * count:
        return np.frombuffer(data, f"{order}u2", count)
    if order == ">" and element.VR == "OW" and len(data) % 2 == 0:  # bytes were swapped within their words
        data = np.frombuffer(data, ">u2").astype("<u2").tobytes()
    return np.frombuffer(data, np.uint8, min(count, len(data)))
