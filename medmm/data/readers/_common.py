"""What every reader needs: patient keys, ages, dates and splits, without anything that names a patient."""

from __future__ import annotations

import functools
import hashlib
import hmac
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path

from medmm.errors import ResourceError, UsageError

SECRET_VARIABLE = "MEDMM_SITE_SECRET"
_PUBLIC_SECRET = b"medmm public layouts"
_KEY_BYTES = 16
_OLDEST_BAND = 90  # ages above 89 may identify a person: 45 CFR 164.514(b)(2)(i)(C)
_AGE = re.compile(r"^\s*(\d{1,3}(?:\.\d+)?)\s*([YMWD]?)\s*$", re.IGNORECASE)
_YEARS_OF = {"Y": 1.0, "": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_SEXES = {"f": "F", "female": "F", "m": "M", "male": "M", "o": "O", "other": "O"}
_SPLIT_WORDS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validate": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
_NO_VALUE = frozenset({"", "nan", "null", "none", "n/a", "na", "<na>"})


def patient_key(patient_id: str, *, public: bool = False) -> str:
    """Stand in for a patient's id: 16 bytes of HMAC-SHA256 in hex, the same for the same id at the same site.

    The secret is ``$MEDMM_SITE_SECRET``, else ``~/.config/medmm/site_secret``, made on first use. A site that sets
    the same secret on two machines gets the same keys, and so the same split, on both.

    Args:
        patient_id: The id as the source gives it; surrounding blanks do not count.
        public: The id is published or made up (Open-i, the phantom): a fixed secret is used, so that keys and
            splits are the same everywhere.

    Raises:
        UsageError: The secret's file is empty or can be read by others.
        ResourceError: The secret's file cannot be made.
    """
    secret = _PUBLIC_SECRET if public else _site_secret()
    return hmac.digest(secret, patient_id.strip().encode(), hashlib.sha256)[:_KEY_BYTES].hex()


class LoneKey(str):
    """Key of a patient who is not known, so that studies without one can be counted; as text, a key like any other."""

    __slots__ = ()


def lone_patient_key(study_id: str, *, public: bool = False) -> LoneKey:
    """Key of a study whose patient is not known: it counts as a patient of its own.

    Args:
        study_id: The study's id.
        public: As in :func:`patient_key`.
    """
    return LoneKey(patient_key(f"\0study\0{study_id}", public=public))


def age_band(age: float | str | None) -> str | None:
    """Ten-year band of an age, as ``60-69``; ``90+`` from 90 on, because such ages may identify.

    Args:
        age: Years as a number or text, or a DICOM age string (``065Y``, ``018M``, PS3.5 6.2); None, blank or
            anything else gives None.
    """
    match = _AGE.match(str(age)) if age is not None else None
    if match is None:
        return None
    years = float(match[1]) * _YEARS_OF[match[2].upper()]
    if years >= _OLDEST_BAND:
        return f"{_OLDEST_BAND}+"
    low = int(years // 10) * 10
    return f"{low}-{low + 9}"


def compact_day(text: str) -> date | None:
    """Day of ``YYYYMMDD`` (DICOM DA, PS3.5 6.2), also as a number with decimals; None for anything else."""
    try:
        return datetime.strptime(text.partition(".")[0], "%Y%m%d").date()
    except ValueError:
        return None


def sex_code(text: str | None) -> str | None:
    """``F``, ``M`` or ``O`` (DICOM PatientSex, PS3.3 C.7.1.1) of a word or letter; None for anything else."""
    return _SEXES.get(text.strip().lower()) if text else None


def split_name(text: str) -> str | None:
    """``train``, ``val`` or ``test`` for the words that tables use (``valid``, ``training``, ...); None if unknown."""
    return _SPLIT_WORDS.get(text.strip().lower())


def cell(value: object) -> str:
    """Text of a table's cell without surrounding blanks; empty for None, NaN and the words that stand for them."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "" if value is None else str(value).strip()
    return "" if text.lower() in _NO_VALUE else text


def word(value: object) -> str:
    """As :func:`cell`, but words that mostly stand for nothing are kept: ``None`` may be the answer to a question."""
    return "" if value is None or value != value else cell(value) or str(value).strip()  # noqa: PLR0124


def timelines(studies: Iterable[tuple[str, str, date | None]]) -> dict[str, tuple[int | None, tuple[str, ...]]]:
    """Place each study in its patient's time, so that no date need be kept.

    Args:
        studies: Patient key, study id and day of each study; a day may be None.

    Returns:
        Study id to (days since the patient's first dated study, or None without a date; ids of the patient's studies
        of earlier days, oldest first).
    """
    patients: dict[str, list[tuple[str, date | None]]] = {}
    for key, study_id, day in studies:
        patients.setdefault(key, []).append((study_id, day))
    placed: dict[str, tuple[int | None, tuple[str, ...]]] = {}
    for own in patients.values():
        dated = sorted((day, study_id) for study_id, day in own if day is not None)
        for study_id, day in own:
            if day is None:
                placed[study_id] = (None, ())
            else:
                earlier = tuple(other for before, other in dated if before < day)
                placed[study_id] = ((day - dated[0][0]).days, earlier)
    return placed


def _site_secret() -> bytes:
    given = os.environ.get(SECRET_VARIABLE)
    return given.encode() if given else _secret_of(os.path.expanduser("~"))


@functools.cache
def _secret_of(home: str) -> bytes:
    path = Path(home, ".config", "medmm", "site_secret")
    try:
        if not path.exists():
            _make_secret(path)
        shared = os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077
        secret = path.read_bytes().strip()
    except OSError as error:
        raise ResourceError(
            "the site's secret, from which patient keys are made, can neither be read nor made",
            where="site secret",
            got=error.strerror,
            fix=f"Make ~/.config/medmm writable, or set {SECRET_VARIABLE}.",
        ) from error
    if shared:
        raise UsageError("other users can read the site's secret", where="site secret", fix="chmod 600 it.")
    if not secret:
        raise UsageError("the site's secret is empty", where="site secret", fix="Delete the file; a new one is made.")
    return secret


def _make_secret(path: Path) -> None:
    """Write a new secret unless another process is first: a link, unlike a rename, never replaces."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return
    finally:
        os.unlink(temporary)
