"""What was paired, what not and why: ``pairing.json`` for programs, ``pairing.html`` for people, and the quarantine.

``pairing.json`` names studies by tag alone. ``pairing.html`` shows images beside report text and the quarantine holds
paths, so both are readable by their owner alone.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from medmm.config.schema import DataConfig
from medmm.data import doubts as doubtful
from medmm.data import pairing_page
from medmm.data.doubts import Doubt
from medmm.errors import Reason, UsageError
from medmm.io.atomic import PREFIX, full_disk_named, replacing, write_json, write_text
from medmm.types import Rejection, Study

if TYPE_CHECKING:
    from medmm.data.manifest import Manifest

FORMAT = 1
FILES = frozenset({"manifest.parquet", "pairing.json", "pairing.html", "doubts.jsonl", "quarantine.jsonl"})
"""What an index consists of."""
EXAMPLES = 24
_DOUBTFUL = 4  # examples of each kind of study that is no pair
_TAGS = 20
_PRIVATE = 0o600
_PASSED_OVER = {  # which is no failure: files of another kind beside the images, images that nobody can learn from
    Reason.NOT_AN_IMAGE: "other_files",
    Reason.IMAGE_DUPLICATE: "copies",
    Reason.REFERENCE_WITHHELD: "reference_withheld",
}


class Quarantine:
    """Writes a line for everything that is set aside and counts it by reason.

    Args:
        path: The file to write: JSON lines with ``study`` (tag), ``study_id``, ``reason``, ``detail`` and ``path``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._counts: Counter[str] = Counter()
        self._tags: dict[str, list[str]] = {}

    def __enter__(self) -> Quarantine:
        """Open the file."""
        self._file = self._path.open("w", encoding="utf-8")
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the file."""
        if self._file is not None:
            with full_disk_named(self._path):
                self._file.close()

    def add(self, rejection: Rejection) -> None:
        """Set something aside.

        Raises:
            ResourceError: The disk is full.
        """
        reason = str(rejection.reason)
        self._counts[reason] += 1
        tags = self._tags.setdefault(reason, [])
        if len(tags) < _TAGS:
            tags.append(rejection.tag)
        path = None if rejection.path is None else str(rejection.path)
        line = {"study": rejection.tag, "study_id": rejection.study_id, "reason": reason, "detail": rejection.detail}
        if self._file is not None:
            with full_disk_named(self._path):
                self._file.write(json.dumps(line | {"path": path}) + "\n")

    def reasons(self) -> dict[str, int]:
        """Reason to count, the most frequent first, without what was passed over."""
        return {reason: number for reason, number in self._counts.most_common() if reason not in _PASSED_OVER}

    def tags(self) -> dict[str, list[str]]:
        """Reason to the tags of the first twenty that it set aside."""
        return {reason: self._tags[reason] for reason in self.reasons()}

    def passed_over(self) -> dict[str, int]:
        """``other_files`` that claim to be no images, and ``reference_withheld``: images of a layout's test."""
        return {name: self._counts[reason] for reason, name in _PASSED_OVER.items()}


def require_free(out: Path, config: DataConfig, replace: bool) -> None:
    """Check that an index written to ``out`` destroys nothing.

    Free is a folder that is not there, is empty, holds an index of the same source and settings, or holds nothing but
    an index that failed. With ``replace`` it may hold any index, if it holds nothing else.

    Raises:
        UsageError: The folder is not free.
    """
    names = {path.name for path in out.iterdir() if not path.name.startswith(PREFIX)} if out.is_dir() else set()
    if not names or _source_in(out) == source_of(config) or names == {"quarantine.jsonl"}:
        return
    if not names <= FILES:
        what, fix = "the folder holds other files than an index", "Choose another --out."
    elif replace:
        return
    else:
        what = "the folder holds an index of another source or of other settings"
        fix = "Choose another --out, or add --resume to replace that index."
    raise UsageError(what, where="--out", got=f"{len(names)} files", expected="an empty folder", fix=fix)


def source_of(config: DataConfig) -> str:
    """SHA-256 of a source and how it is read, in hex: ``pairing.json`` names no path."""
    given = {"path": config.path, "reports": config.reports}
    paths = {key: path.expanduser().resolve() for key, path in given.items() if path is not None}
    text = json.dumps(config.model_copy(update=paths).model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _source_in(folder: Path) -> str | None:
    """Source of the index in a folder; None where there is none, or an older one that does not say."""
    try:
        return str(json.loads((folder / "pairing.json").read_bytes())["source"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_quarantine(path: Path, rejections: Iterable[Rejection]) -> None:
    """Write a line for everything that was set aside, readable by its owner alone: it holds paths.

    Raises:
        ResourceError: The disk is full.
    """
    with replacing(path, _PRIVATE) as temporary, Quarantine(temporary) as aside:
        for rejection in rejections:
            aside.add(rejection)


@dataclass(frozen=True, slots=True)
class Written:
    """Where the record of a pairing lies: ``pairing.html``, ``pairing.json`` and ``doubts.jsonl``."""

    page: Path
    facts: Path
    doubts: Path


def write(
    manifest: Manifest, aside: Quarantine, doubts: Sequence[Doubt], out: Path, config: DataConfig, deep: bool
) -> Written:
    """Write what was paired, what not, and what is doubtful about it.

    Args:
        manifest: What was paired.
        aside: What was set aside.
        doubts: What is doubtful.
        out: Folder to write to.
        config: The source and how it was read.
        deep: Whether the images were opened.

    Raises:
        ResourceError: The disk is full.
    """
    record = summarize(manifest, aside) | {"source": source_of(config), "deep": deep}
    record["doubts"] = doubtful.summarize(doubts)
    written = Written(out / "pairing.html", out / "pairing.json", out / "doubts.jsonl")
    write_text(written.doubts, "".join(json.dumps(doubt.record()) + "\n" for doubt in doubts), _PRIVATE)
    write_json(written.facts, record)
    shown = doubtful.examples(doubts)
    studies = {study.study_id: study for study in manifest.choose({one for doubt in shown for one in doubt.studies})}
    write_text(written.page, pairing_page.render(record, examples(manifest), shown, studies), _PRIVATE)
    return written


def summarize(manifest: Manifest, aside: Quarantine) -> dict[str, Any]:
    """What ``pairing.json`` holds.

    ``counts.image_without_report`` and ``counts.report_without_image`` take in what was set aside for that reason;
    every other count is of the manifest. ``report_empty`` and ``report_shared`` count reports set aside.
    """
    summary, reasons = manifest.summary, aside.reasons()
    counts = dict(summary.counts)
    for reason in (Reason.IMAGE_WITHOUT_REPORT, Reason.REPORT_WITHOUT_IMAGE):
        counts[reason] += reasons.get(reason, 0)
    counts |= {reason: reasons.get(reason, 0) for reason in (Reason.REPORT_EMPTY, Reason.REPORT_SHARED)}
    parts = {name: {"studies": number, "patients": summary.patients[name]} for name, number in summary.splits.items()}
    return {
        "format": FORMAT,
        "counts": counts | aside.passed_over(),
        "patients_known": summary.patients_known,
        "splits": parts,
        "set_aside": {reason: {"count": number, "first": aside.tags()[reason]} for reason, number in reasons.items()},
        "split_hash": summary.split_hash,
        "data_hash": summary.data_hash,
    }


def examples(manifest: Manifest, number: int = EXAMPLES) -> list[Study]:
    """Up to ``number`` studies to look at, the same for the same data: some that are no pairs, then pairs.

    They are those whose ids have the smallest SHA-256, hence spread over the source.
    """
    kinds: dict[tuple[bool, bool], list[str]] = {}
    for study_id, has_image, is_described in manifest.outline():
        kinds.setdefault((has_image, is_described), []).append(study_id)
    chosen: list[str] = []
    for kind in ((True, False), (False, True), (True, True)):
        room = number - len(chosen) if kind == (True, True) else min(_DOUBTFUL, number - len(chosen))
        chosen += heapq.nsmallest(room, kinds.get(kind, ()), key=lambda one: hashlib.sha256(one.encode()).digest())
    rank = {study_id: at for at, study_id in enumerate(chosen)}
    return sorted(manifest.choose(chosen), key=lambda study: rank[study.study_id])
