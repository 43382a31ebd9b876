"""What has been scored, durable line by line: a kill at any moment costs at most the line that was being written.

A folder of scores holds ``predictions.jsonl`` (one line a study), ``quarantine.jsonl`` (what was set aside, and where
it lies) and ``manifest.json`` (which model, which settings, how many). Nothing here needs the learning stack.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medmm.errors import CheckpointError, UsageError
from medmm.io import atomic
from medmm.scoring import lines
from medmm.types import Rejection, study_tag

PREDICTIONS = "predictions.jsonl"
QUARANTINE = "quarantine.jsonl"
MANIFEST = "manifest.json"
FORMAT = "medmm-scores"
VERSION = 1


class Ledger:
    """The open folder of scores. Make it with :meth:`open`; use it as a context, which releases the folder.

    Attributes:
        folder: Where it lies.
        resumed: How many studies were found done when it was opened.
        repaired: How many torn or spoilt lines were taken out; their studies count as not done.
    """

    def __init__(self, folder: Path, identity: Mapping[str, str], header: Mapping[str, Any]) -> None:
        self.folder, self.resumed, self.repaired = folder, 0, 0
        self._identity, self._header = dict(identity), dict(header)
        self._done: dict[str, str] = {}
        self._superseded = False
        self._lock: int | None = None
        self._started = _now()

    @classmethod
    def open(cls, folder: Path, identity: Mapping[str, str], header: Mapping[str, Any], *, resume: bool) -> Ledger:
        """Begin a folder of scores, or go on with one.

        Going on repairs what a kill has torn, and forgets the quarantine: what was set aside is tried again.

        Args:
            folder: Made where missing.
            identity: What must be the same when going on, such as the hash of the weights.
            header: What else ``manifest.json`` says from the start.
            resume: Go on with what is there.

        Raises:
            UsageError: The folder holds something and ``resume`` was not asked for, or another process is scoring into
                it.
            CheckpointError: Going on, the folder was written by another model, with other settings, or by an unknown
                format.
            ResourceError: The disk is full.
        """
        check_folder(folder, resume=resume)
        ledger = cls(folder, identity, header)
        with atomic.full_disk_named(folder):
            folder.mkdir(parents=True, exist_ok=True)
        ledger._lock = _lock(folder)
        try:
            if _entries(folder):
                ledger._check_identity()
                ledger._restore()
            ledger.write_manifest("running", {})
        except BaseException:
            ledger.close()
            raise
        return ledger

    def is_done(self, study_id: str, print_: str) -> bool:
        """Say whether these very files of the study were scored."""
        return self._done.get(study_id) == print_

    def add(self, line: Mapping[str, Any]) -> None:
        """Store a study's prediction; when this returns it is on the disk.

        Args:
            line: JSON-ready, with ``study_id`` and ``fingerprint``.

        Raises:
            ResourceError: The disk is full.
        """
        study_id = str(line["study_id"])
        self._superseded = self._superseded or study_id in self._done
        atomic.append_line(self.folder / PREDICTIONS, lines.dump(line), lines.PRIVATE)
        self._done[study_id] = str(line["fingerprint"])

    def set_aside(self, rejection: Rejection, scope: str = "study") -> None:
        """Store what could not be scored and why.

        Args:
            rejection: What and why; its path may stand here, and only here.
            scope: ``study``, or ``image`` where the study was scored without this image.

        Raises:
            ResourceError: The disk is full.
        """
        study_id = lines.printable(rejection.study_id)
        line = {
            "study_id": study_id,
            "tag": study_tag(study_id),
            "scope": scope,
            "reason": str(rejection.reason),
            "detail": rejection.detail,
            "path": None if rejection.path is None else lines.printable(str(rejection.path)),
        }
        atomic.append_line(self.folder / QUARANTINE, lines.dump(line), lines.PRIVATE)

    def write_manifest(self, status: str, more: Mapping[str, Any]) -> None:
        """Write ``manifest.json``.

        Args:
            status: ``running``, ``done`` or ``interrupted``.
            more: What is known now, such as counts.

        Raises:
            ResourceError: The disk is full.
        """
        head = {"format": FORMAT, "version": VERSION, "status": status, "started": self._started}
        ended = {} if status == "running" else {"ended": _now()}
        atomic.write_json(self.folder / MANIFEST, {**head, **ended, "identity": self._identity, **self._header, **more})

    def settle(self) -> None:
        """Leave one line a study: of a study whose files changed since it was scored, the last."""
        for name in (PREDICTIONS, QUARANTINE):
            path = self.folder / name
            if not path.exists():
                atomic.write_text(path, "", lines.PRIVATE)
        if self._superseded:
            whole, _ = lines.read(self.folder / PREDICTIONS)
            last = {str(line["study_id"]): line for line in whole}
            lines.rewrite(self.folder / PREDICTIONS, last.values())
            self._superseded = False

    def close(self) -> None:
        """Release the folder to other processes."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _check_identity(self) -> None:
        found = _read_manifest(self.folder / MANIFEST)
        known = found.get("identity")
        if known == self._identity:
            return
        known = known if isinstance(known, dict) else {}
        other = sorted(key for key in {*known, *self._identity} if known.get(key) != self._identity.get(key))
        raise CheckpointError(
            "the folder holds the scores of another model or of other settings",
            where=MANIFEST,
            got=", ".join(f"{key} {str(known.get(key))[:12]}" for key in other),
            expected=", ".join(f"{key} {str(self._identity.get(key))[:12]}" for key in other),
            fix="Choose another --out, or score with the run and the settings that this folder was begun with.",
        )

    def _restore(self) -> None:
        path = self.folder / PREDICTIONS
        whole, spoilt = lines.read(path)
        done = {str(line["study_id"]): line for line in whole}
        if spoilt or len(done) < len(whole):
            lines.rewrite(path, done.values())
        self._done = {study_id: str(line["fingerprint"]) for study_id, line in done.items()}
        self.resumed, self.repaired = len(done), spoilt
        aside, _ = lines.read(self.folder / QUARANTINE, keys=("study_id", "scope"))
        kept = [line for line in aside if line["scope"] == "image" and str(line["study_id"]) in done]
        if (self.folder / QUARANTINE).exists():
            lines.rewrite(self.folder / QUARANTINE, kept)
        started = _read_manifest(self.folder / MANIFEST).get("started")
        self._started = str(started or self._started)


def check_folder(folder: Path, *, resume: bool) -> None:
    """Refuse early, before a model is loaded, a folder that cannot take the scores.

    Raises:
        UsageError: It holds something and ``resume`` was not asked for, or it is no folder.
        CheckpointError: ``resume`` was asked for and it holds something else than scores.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError("the output is a file, not a folder", where="--out", fix="Choose another --out.")
    if not folder.exists() or not (entries := _entries(folder)):
        return
    if not resume:
        raise UsageError(
            "the output folder is not empty",
            where="--out",
            got=f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}",
            fix="Add --resume to go on with it, or choose another --out.",
        )
    _read_manifest(folder / MANIFEST)


def _entries(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if not entry.name.startswith(".")]


def _read_manifest(path: Path) -> dict[str, Any]:
    fix = "Choose another --out."
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError("the folder holds files, but no scores to go on with", where=MANIFEST, fix=fix) from None
    except (ValueError, OSError) as error:
        raise CheckpointError("cannot be read", where=MANIFEST, got=type(error).__name__, fix=fix) from None
    if not isinstance(found, dict) or found.get("format") != FORMAT or found.get("version") != VERSION:
        named = f"{found.get('format')} version {found.get('version')}" if isinstance(found, dict) else "no mapping"
        raise CheckpointError(
            "unknown format", where=MANIFEST, got=named, expected=f"{FORMAT} version {VERSION}", fix=fix
        )
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _lock(folder: Path) -> int | None:
    """Hold the folder until the process ends, however it ends; None where the system has no such locks."""
    try:
        import fcntl
    except ImportError:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UsageError(
            "another process is scoring into this folder", where="--out", fix="Wait for it, or choose another --out."
        ) from None
    except OSError:  # some network file systems have no locks; scoring goes on without
        os.close(descriptor)
        return None
    return descriptor
