"""Codes and coded text of DICOM objects: what a thing is called in a vocabulary (PS3.3 section 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medmm.io import elements
from medmm.io.codecs import attempt

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

CHARACTER_SET = 0x00080005
_VALUES = (0x00080100, 0x00080119, 0x00080120)
"""Code Value, Long Code Value, URN Code Value: one of them is there."""
_SCHEME, _MEANING = 0x00080102, 0x00080104


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept.

    Attributes:
        value: Code, such as ``10200004``.
        scheme: Vocabulary, such as ``SCT``, ``DCM`` or ``LN``.
        meaning: What people read, such as ``Liver``.
    """

    value: str
    scheme: str
    meaning: str


def code_of(dataset: Dataset, tag: int, encodings: list[str] | None = None) -> Code | None:
    """The first code of a code sequence; None where there is none.

    Args:
        dataset: Where the sequence lies.
        tag: The sequence.
        encodings: Python encodings of the object's text, from :func:`encodings_of`.
    """
    codes = codes_of(dataset, tag, encodings)
    return codes[0] if codes else None


def codes_of(dataset: Dataset, tag: int, encodings: list[str] | None = None) -> tuple[Code, ...]:
    """All codes of a code sequence that have a value or a meaning; arguments as :func:`code_of`."""
    found = []
    for item in elements.items(dataset, tag):
        value = next((text for one in _VALUES if (text := elements.text(item, one))), "")
        meaning = text_of(item, _MEANING, encodings).strip()
        if value or meaning:
            found.append(Code(value, elements.text(item, _SCHEME) or "", meaning))
    return tuple(found)


def encodings_of(dataset: Dataset) -> list[str] | None:
    """Python's names of the object's character sets (PS3.3 C.12.1.1.2); None for the default or an unknown one."""
    names = elements.texts(dataset, CHARACTER_SET)
    if not any(names):
        return None
    from pydicom.charset import convert_encodings

    found = attempt(convert_encodings, names)
    return None if isinstance(found, str) else list(found)


def text_of(dataset: Dataset, tag: int, encodings: list[str] | None = None) -> str:
    """The whole of a text element, backslashes and all, in the object's character sets.

    What these cannot read is read as UTF-8, else as Latin-1: objects that name no character set often use one.
    """
    element = dataset.get_item(tag, keep_deferred=True)
    value = None if element is None else element.value
    if isinstance(value, bytes):
        return _decoded(value, encodings).rstrip(" \0")
    if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue":
        return "\\".join(str(part) for part in value)
    return "" if value is None or type(value).__name__ == "Sequence" else str(value)


def _decoded(value: bytes, encodings: list[str] | None) -> str:
    if encodings:
        from pydicom.charset import decode_bytes

        # pydicom splits at control characters, which are no part of an escape sequence in UT, ST and LT
        found = attempt(decode_bytes, value, encodings, {"\r", "\n", "\t", "\f"})
        if not _is_fault(found):
            return found
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _is_fault(found: str) -> bool:
    """Whether the decoder failed: its errors come as text, and what it could not read as U+FFFD."""
    return "\N{REPLACEMENT CHARACTER}" in found or found.startswith(("UnicodeDecodeError:", "LookupError:"))
