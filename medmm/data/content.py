"""What a file holds, as a key that is the same wherever the file lies, and how its pixels are made, as another."""

from __future__ import annotations

import functools
import hashlib
import json
import stat
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from medmm.config.schema import PreprocessConfig
from medmm.io.tree import files_of
from medmm.types import ImageSource

_SETTLED_NS = 2_000_000_000
# Some file systems count time in steps of up to 2 s: what is written within one step leaves no trace in the times.
_READERS = ("pydicom", "imagecodecs", "pylibjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle", "pylibjpeg-libjpeg",
            "nibabel", "pillow", "opencv-python-headless", "numpy")  # fmt: skip


@dataclass(frozen=True)
class Stamp:
    """What changes whenever a file's content does: place, size and times, as one digest that names nothing.

    The time of change (ctime) is among them, which no program can set: a file that is replaced by one of the same size
    and modification time gets another stamp.

    Attributes:
        digest: 16 bytes.
        settled: Whether the last change is so old that a further one cannot go unseen.
    """

    digest: bytes
    settled: bool


def stamp(source: ImageSource) -> Stamp | None:
    """The stamp of a file, or of files that count together; None where there is nothing to read."""
    digest, settled = hashlib.blake2b(digest_size=16), True
    try:
        members = files_of(source)
        for one in members:
            status = one.stat()
            if not stat.S_ISREG(status.st_mode):
                return None
            settled &= time.time_ns() - status.st_ctime_ns > _SETTLED_NS
            facts = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            digest.update(f"{one.absolute()}\0{facts}\n".encode(errors="surrogateescape"))
    except OSError:
        return None
    return Stamp(digest.digest(), settled) if members else None


def content_key(source: ImageSource) -> bytes | None:
    """SHA-256 of a file's bytes, of several files in the order of their own; None where they cannot be read."""
    try:
        members = files_of(source)
        if not members or not all(one.is_file() for one in members):  # opening a pipe would wait for its writer
            return None
        if members == [source]:
            return _digest(members[0])
        return hashlib.sha256(b"folder" + b"".join(sorted(map(_digest, members)))).digest()
    except OSError:
        return None


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def reading_key(preprocess: PreprocessConfig) -> str:
    """How pixels come from a file, as 32 hex digits: the preprocessing that shapes them, and the code that reads them.

    Mean and standard deviation are left out: they are applied by the model.
    """
    settings = preprocess.model_dump(mode="json", exclude={"mean", "std"})
    return hashlib.sha256(f"{json.dumps(settings, sort_keys=True)}\0{_code()}".encode()).hexdigest()[:32]


@functools.cache
def _code() -> str:
    """Digest of medmm's readers and of what they build on: a repaired decoder must not find its old pixels."""
    digest = hashlib.sha256()
    folder = Path(__file__).resolve().parent
    for source in sorted([*(folder.parent / "io").glob("*.py"), folder / "decoding.py", folder / "stored_image.py"]):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    for name in _READERS:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            version = "none"
        digest.update(f"{name} {version}\n".encode())
    return digest.hexdigest()
