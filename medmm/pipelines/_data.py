"""From ``--data`` to a manifest, and what people are told on the way."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medmm.config.schema import Config
from medmm.data import indexing
from medmm.data import manifest as manifests
from medmm.pipelines._console import Console, number_of


def index_into(config: Config, out: Path, console: Console, deep: bool = False) -> indexing.IndexResult:
    """Write ``manifest.parquet`` and the pairing into ``out``.

    Raises:
        DataError: The source is unusable as a whole.
        ResourceError: The disk is full.
    """
    source = ready(config, console)
    with console.progress("indexing") as progress:
        return indexing.index(source.data, config.seed, out, progress=progress, deep=deep)


def ready(config: Config, console: Console) -> Config:
    """Generate the phantom studies that a config without data stands for, unless they lie in the cache."""
    if config.data.reader != "phantom" or config.data.path is not None:
        return config
    from medmm.data.phantom import cached
    from medmm.data.phantom.options import Options

    phantom = config.data.phantom
    with console.progress(f"generating {phantom.studies} phantom studies") as progress:
        folder = cached(
            config.seed,
            phantom.studies,
            phantom.size,
            progress=lambda done: progress(done, phantom.studies),
            options=Options.of(phantom),
        )
    return config.model_copy(update={"data": config.data.model_copy(update={"path": folder})})


@contextmanager
def dry_manifest(config: Config, console: Console) -> Iterator[tuple[manifests.Manifest | None, dict[str, Any]]]:
    """Index into a folder that is gone afterwards, for ``--dry-run``; phantom studies are not made, only counted."""
    if config.data.reader == "phantom" and config.data.path is None:
        yield None, _expected(config)
        return
    with tempfile.TemporaryDirectory(prefix="medmm-dry-") as folder:
        result = index_into(config, Path(folder), console)
        yield manifests.Manifest.open(result.manifest), dict(result.counts)


@contextmanager
def dry_manifest_of_run(
    run: Path, trained: Config, config: Config, console: Console
) -> Iterator[tuple[manifests.Manifest | None, dict[str, Any]]]:
    """As :func:`manifest_of_run` chooses, but what has to be indexed for it is gone afterwards."""
    own = _own_manifest(run, trained, config)
    if own is None:
        with dry_manifest(config, console) as found:
            yield found
    else:
        yield own, own.counts()


def _expected(config: Config) -> dict[str, Any]:
    """What phantom studies of this config will be: each has an image and a report; shares are of studies."""
    data = config.data
    number = min(data.phantom.studies, data.limit or data.phantom.studies)
    val, test = (round(number * share) for share in (data.splits.val, data.splits.test))
    same = dict.fromkeys(("studies", "images", "reports", "paired"), number)
    return {**same, "train": max(1, number - val - test), "val": val, "test": test}


def show_pairing(result: indexing.IndexResult, console: Console) -> None:
    """Say what was paired, what not and why, and how patients were shared out."""
    counts = result.counts
    has_reports = counts["reports"] > 0  # where the source has none at all, none is missing
    console.line(
        f"{_studies(counts['studies'])} of {number_of(counts['patients'], 'patient')},"
        f" {number_of(counts['images'], 'image')}, {counts['paired'] if has_reports else 'none'} paired with a report"
    )
    for what in ("masks", "questions"):
        if number := counts[f"with_{what}"]:
            console.line(f"  with {what}: {_studies(number)}")
    show_aside(result.rejected, result.quarantine, console)
    for name, number in result.doubts.items():
        console.line(f"  doubtful: {number} x {name}")
    if has_reports and (bare := counts["image_without_report"]):
        console.line(f"  without report: {_studies(bare)}")
    if (lone := counts["studies_without_patient"]) == counts["studies"]:
        console.line("patients are not known: every study counts as its own patient")
    elif lone:
        console.line(f"  without patient: {_studies(lone)}, each counts as its own patient")
    if shared := counts["patients_in_several_splits"]:
        lie = number_of(shared, "patient lies", "patients lie")
        console.line(f"warning: {lie} in several parts of the source's own split; test figures will flatter")
    if missing := counts["report_without_target"]:
        console.line(
            f"  neither findings nor impression: {number_of(missing, 'report')}"
            " (notes without headings: target.whole_text=true)"
        )
    splits = ", ".join(f"{name} {number}" for name, number in result.splits.items())
    console.line(f"studies a split: {splits}")


def show_aside(reasons: Mapping[str, int], quarantine: Path, console: Console) -> None:
    """Say what was set aside for which reason, and which file names it."""
    for reason, number in reasons.items():
        console.line(f"  set aside: {number} x {reason}; see {quarantine}")


def rejected_by_index(folder: Path) -> dict[str, int]:
    """Reason to number of what the index in a folder set aside; it stands in the ``quarantine.jsonl`` beside it."""
    try:
        aside = json.loads((folder / "pairing.json").read_bytes())["set_aside"]
        return {str(reason): int(one["count"]) for reason, one in aside.items()}
    except (OSError, ValueError, KeyError, TypeError):  # an index of another version
        return {}


def reasons_in(quarantine: Path) -> dict[str, int]:
    """Reason to number of lines of a ``quarantine.jsonl``, the most frequent first; nothing where there is no file."""
    reasons: Counter[str] = Counter()
    if quarantine.is_file():
        with quarantine.open(encoding="utf-8") as lines:
            reasons.update(str(json.loads(line)["reason"]) for line in lines)
    return dict(reasons.most_common())


def _studies(number: int) -> str:
    return number_of(number, "study", "studies")


def manifest_for_training(config: Config, folder: Path, console: Console) -> manifests.Manifest:
    """The manifest in ``folder``: as an earlier start left it, else a new one; a resumed run sees the same studies."""
    stored = folder / "manifest.parquet"
    if not stored.is_file():
        show_pairing(index_into(config, folder, console), console)
    return manifests.Manifest.open(stored)


def manifest_of_run(run: Path, trained: Config, config: Config, out: Path, console: Console) -> manifests.Manifest:
    """The manifest that a run was trained on when the data are the same, else a new one of ``config.data`` in ``out``.

    The run's own manifest holds the split as it was stored, so that no training patient is ever tested on.
    """
    if own := _own_manifest(run, trained, config):
        return own
    result = index_into(config, out / "data", console)
    show_pairing(result, console)
    return manifests.Manifest.open(result.manifest)


def _own_manifest(run: Path, trained: Config, config: Config) -> manifests.Manifest | None:
    own = run / "data" / "manifest.parquet"
    return manifests.Manifest.open(own) if config.data == trained.data and own.is_file() else None
