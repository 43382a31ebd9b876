"""From a source to an index: the manifest, what was paired and what not, and what is doubtful about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from medmm import registry
from medmm.config.schema import DataConfig, SplitConfig
from medmm.data import pairing
from medmm.data.doubts import Inspector
from medmm.data.likeness import DeepPass
from medmm.data.manifest import Manifest, ManifestSummary, build
from medmm.errors import DataError, MedmmError
from medmm.io.atomic import replacing
from medmm.types import Rejection, Study

_PRIVATE = 0o600
_PROGRESS_EVERY = 25
_FILTERING = ("table",)  # readers that heed data.where; left unheeded it would let unwanted studies in


class Progress(Protocol):
    """Told how far the work has come."""

    def __call__(self, done: int, total: int | None = None, note: str = "") -> None:
        """Say that ``done`` studies are done; of how many is not known before the end."""


@dataclass(frozen=True, slots=True)
class IndexResult:
    """What :func:`index` wrote.

    Attributes:
        manifest: ``manifest.parquet``.
        pairing: ``pairing.json``.
        page: ``pairing.html``.
        doubtful: ``doubts.jsonl``, a line for every doubt about a pair.
        quarantine: ``quarantine.jsonl``, a line for everything that was set aside, with its path.
        counts: As in :class:`ManifestSummary`.
        splits: Studies in train, val and test.
        doubts: Kind of doubt to how many there are; kinds without any are left out.
        rejected: Reason to how many studies, images, reports or rows were set aside, the most frequent first.
        split_hash: As in :class:`ManifestSummary`.
        data_hash: As in :class:`ManifestSummary`.
    """

    manifest: Path
    pairing: Path
    page: Path
    doubtful: Path
    quarantine: Path
    counts: Mapping[str, int]
    splits: Mapping[str, int]
    doubts: Mapping[str, int]
    rejected: Mapping[str, int]
    split_hash: str
    data_hash: str


def index(
    config: DataConfig, seed: int, out: Path, progress: Progress | None = None, deep: bool = False
) -> IndexResult:
    """Read a source, pair, split, and write the manifest and what was paired and what not, and why.

    Args:
        config: The source and how to read it.
        seed: Makes the phantom studies where ``config`` names none; the split has a seed of its own.
        out: Folder for ``manifest.parquet``, ``pairing.json``, ``pairing.html``, ``doubts.jsonl`` and
            ``quarantine.jsonl``.
        progress: Told the number of studies read.
        deep: Open every image too: what cannot be read is set aside, each file's content hash goes into the manifest,
            and images that several patients share are named.

    Raises:
        DataError: The source is unusable as a whole, holds no study that can be used, or cannot be split.
        ResourceError: The disk is full.
    """
    _refuse_unheeded(config)
    config = _with_phantom(config, seed)
    items: Iterable[Study | Rejection] = registry.resolve("reader", config.reader)(config)
    items = _watched(items, config.limit, progress)
    inspector, deep_pass = Inspector(), DeepPass() if deep else None
    if deep_pass is not None:
        items = deep_pass.watch(items)
    path, quarantine = out / "manifest.parquet", out / "quarantine.jsonl"
    summary, aside = _build(_inspected(items, inspector), path, quarantine, config.splits)
    manifest = Manifest(path, summary)
    doubts = inspector.doubts() + ([] if deep_pass is None else deep_pass.doubts(manifest.splits()))
    written = pairing.write(manifest, aside, doubts, out, config, deep)
    return IndexResult(
        manifest=path,
        pairing=written.facts,
        page=written.page,
        doubtful=written.doubts,
        quarantine=quarantine,
        counts=summary.counts,
        splits=summary.splits,
        doubts=dict(Counter(str(doubt.kind) for doubt in doubts)),
        rejected=aside.reasons(),
        split_hash=summary.split_hash,
        data_hash=summary.data_hash,
    )


def _refuse_unheeded(config: DataConfig) -> None:
    if config.where and config.reader not in _FILTERING:
        got, expected = f"reader '{config.reader}'", " or ".join(_FILTERING)
        raise DataError("this reader has no columns to choose rows by", where="data.where", got=got, expected=expected)


def _build(
    items: Iterable[Study | Rejection], path: Path, quarantine: Path, splits: SplitConfig
) -> tuple[ManifestSummary, pairing.Quarantine]:
    """Write manifest and quarantine; where there can be no manifest, the quarantine all the same: it says why."""
    failure: MedmmError | None = None
    with replacing(quarantine, _PRIVATE) as temporary, pairing.Quarantine(temporary) as aside:
        try:
            summary = build(items, path, splits, aside.add)
        except MedmmError as error:
            failure = error
    if failure is not None:
        raise failure
    return summary, aside


def _with_phantom(config: DataConfig, seed: int) -> DataConfig:
    if config.reader != "phantom" or config.path is not None:
        return config
    from medmm.data.phantom import cached
    from medmm.data.phantom.options import Options

    wanted = config.phantom
    return config.model_copy(update={"path": cached(seed, wanted.studies, wanted.size, options=Options.of(wanted))})


def _inspected(items: Iterable[Study | Rejection], inspector: Inspector) -> Iterator[Study | Rejection]:
    for item in items:
        if isinstance(item, Study):
            inspector.add(item)
        yield item


def _watched(
    items: Iterable[Study | Rejection], limit: int | None, progress: Progress | None
) -> Iterator[Study | Rejection]:
    """Pass items on, counting studies, and stop after ``limit`` of them."""
    done = 0
    for item in items:
        yield item
        done += isinstance(item, Study)
        if progress is not None and done % _PROGRESS_EVERY == 0:
            progress(done)
        if done == limit:
            break
    if progress is not None:
        progress(done, done)
