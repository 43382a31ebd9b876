"""Patients to train, val and test: whole patients, the same for the same seed, whatever the order of the studies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from medmm.config.schema import SplitConfig
from medmm.errors import DataError
from medmm.types import SPLITS


@dataclass(frozen=True, slots=True)
class Member:
    """A study as the split sees it.

    Attributes:
        study_id: The study.
        patient_key: Its patient.
        split: What the source says: ``train``, ``val``, ``test`` or None.
    """

    study_id: str
    patient_key: str
    split: str | None = None


def assign(members: Sequence[Member], config: SplitConfig) -> dict[str, str]:
    """Give every study a split.

    A split of the source is kept. Where it has train but no val, val's share of the patients that are in train alone
    is cut from train; test is never cut from it. Without any split, patients are shared out by :func:`share_out`.

    Args:
        members: All studies, in any order.
        config: Shares and seed.

    Returns:
        Study id to ``train``, ``val`` or ``test``.

    Raises:
        DataError: Only some of the studies have a split.
    """
    given = {member.split for member in members}
    if given <= {None}:
        parts = share_out({member.patient_key for member in members}, config)
        return {member.study_id: parts[member.patient_key] for member in members}
    if None in given:
        without = sum(member.split is None for member in members)
        got = f"{without} of {len(members)} studies without one"
        fix = "Fill the column in every row, or leave data.columns.split out."
        raise DataError("only some of the studies have a split", where="data", got=got, fix=fix)
    moved: set[str] = set()
    if "train" in given and "val" not in given and config.val > 0:
        moved = _cut_val(members, config)
    return {member.study_id: _kept(member, moved) for member in members}


def share_out(patients: Iterable[str], config: SplitConfig) -> dict[str, str]:
    """Order patients by SHA-256 of seed and key, then cut at the shares: test first, then val, the rest is train.

    Counts are ``share * patients`` rounded half up, at least one in every part whose share is not 0; one patient alone
    is in train, and of two one in val.

    Args:
        patients: Patient keys; repeats do not count.
        config: Shares and seed.

    Returns:
        Patient key to ``train``, ``val`` or ``test``.
    """
    ordered = _ordered(patients, config.seed)
    if config.folds is not None:
        return _fold(ordered, config.folds, config)
    test, val = _counts(len(ordered), (config.test, config.val))
    return {key: "test" if at < test else "val" if at < test + val else "train" for at, key in enumerate(ordered)}


def _fold(ordered: Sequence[str], folds: int, config: SplitConfig) -> dict[str, str]:
    """Every patient is in test in exactly one of the folds; val is cut from the others."""
    tested = set(ordered[config.fold :: folds])
    others = [key for key in ordered if key not in tested]
    (val,) = _counts(len(others), (config.val,))
    parts = {key: "val" if at < val else "train" for at, key in enumerate(others)}
    return parts | dict.fromkeys(tested, "test")


def in_several(members: Iterable[Member]) -> set[str]:
    """Keys of the patients that the source's own split puts into more than one part."""
    first: dict[str, str | None] = {}
    return {
        member.patient_key for member in members if first.setdefault(member.patient_key, member.split) != member.split
    }


def split_hash(splits: Mapping[str, str]) -> str:
    """SHA-256 over the sorted pairs of study id and split, in hex: equal when every study is in the same part."""
    digest = hashlib.sha256()
    for study_id, split in sorted(splits.items()):
        digest.update(f"{len(study_id)}:{study_id}={split}\n".encode())
    return digest.hexdigest()


def sizes(splits: Mapping[str, str]) -> dict[str, int]:
    """Studies a part, in the order train, val, test."""
    values = list(splits.values())
    return {name: values.count(name) for name in SPLITS}


def _ordered(patients: Iterable[str], seed: int) -> list[str]:
    return sorted(set(patients), key=lambda key: hashlib.sha256(f"{seed}:{key}".encode()).digest())


def _counts(patients: int, shares: Sequence[float]) -> list[int]:
    """Patients a part, at least one each as far as they go: training first, then the last share, the first share last.

    A folder of one patient can be looked at; who trains on it is told what is missing.
    """
    counts = [max(1, int(share * patients + 0.5)) if share > 0 else 0 for share in shares]
    while sum(counts) >= max(1, patients):
        counts[counts.index(max(counts))] -= 1
    return counts


def _cut_val(members: Sequence[Member], config: SplitConfig) -> set[str]:
    """Keys of the training patients that become val; a patient who is in test too stays out of it."""
    several = in_several(members)
    candidates = {member.patient_key for member in members if member.split == "train"} - several
    (count,) = _counts(len(candidates), (config.val,))
    return set(_ordered(candidates, config.seed)[:count])


def _kept(member: Member, moved: set[str]) -> str:
    return "val" if member.patient_key in moved else str(member.split)
