"""The manifest: every study with its images, report and split in one Parquet file, written and read in a stream.

It holds report text and file paths, so it is readable by its owner alone (mode 0600).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medmm.config.schema import SplitConfig
from medmm.data import splits as sharing
from medmm.data.records import studies_of
from medmm.data.spool import Census, spool_beside
from medmm.errors import DataError, Reason
from medmm.io.atomic import replacing
from medmm.types import Rejection, Study

FORMAT = 1
_METADATA = b"medmm.manifest"
_PRIVATE = 0o600
_SAYING = ("report_format", "masks", "questions")  # columns without which nothing is said of a study's images
_BATCH_ROWS = 512


@dataclass(frozen=True, slots=True)
class ManifestSummary:
    """What a manifest holds.

    Attributes:
        counts: ``studies``, ``patients``, ``images``, ``reports``, ``paired`` (studies with images and a report),
            ``with_masks`` and ``with_questions`` (studies with images; older manifests do not say it),
            ``image_without_report`` (studies with neither report, masks nor questions) and ``report_without_image``,
            ``report_without_target`` (reports with neither findings nor impression), ``patients_in_several_splits``
            and ``studies_without_patient`` (each a patient of its own; older manifests do not say it).
        splits: Studies in train, val and test.
        patients: Patients in train, val and test.
        split_hash: SHA-256 over the sorted pairs of study and split.
        data_hash: SHA-256 over what the studies say, in any order and wherever they lie.
    """

    counts: Mapping[str, int]
    splits: Mapping[str, int]
    patients: Mapping[str, int]
    split_hash: str
    data_hash: str

    @property
    def patients_known(self) -> bool:
        """Whether the source names the patient of any study; taken to be so where an older manifest does not say."""
        return self.counts.get("studies_without_patient", 0) < self.counts["studies"]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest on disk.

    Attributes:
        path: The file.
        summary: What it holds, as it says itself.
    """

    path: Path
    summary: ManifestSummary

    @staticmethod
    def open(path: Path) -> Manifest:
        """Open a manifest; only its metadata is read.

        Raises:
            DataError: There is no such file, it is no manifest, or one of another format.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not path.is_file():
            got, expected = f"'{path.name}'", "manifest.parquet"
            raise DataError("there is no such file", where="manifest", got=got, expected=expected)
        try:
            metadata = pq.read_schema(path).metadata or {}
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError("no valid Parquet", where="manifest", fix="Make it anew with index.") from error
        if _METADATA not in metadata:
            raise DataError("a Parquet file, but no manifest", where="manifest", fix="Make one with index.")
        record = json.loads(metadata[_METADATA])
        if record.pop("format", None) != FORMAT:
            got, expected = f"format {json.loads(metadata[_METADATA]).get('format')}", f"format {FORMAT}"
            fix = "Make it anew with index."
            raise DataError("a manifest of another format", where="manifest", got=got, expected=expected, fix=fix)
        return Manifest(path, ManifestSummary(**record))

    @property
    def split_hash(self) -> str:
        """SHA-256 over the sorted pairs of study and split."""
        return self.summary.split_hash

    @property
    def data_hash(self) -> str:
        """SHA-256 over what the studies say."""
        return self.summary.data_hash

    def counts(self) -> dict[str, int]:
        """Counts of the summary, with the studies in ``train``, ``val``, ``test`` and ``all``."""
        return {**self.summary.counts, **self.summary.splits, "all": self.summary.counts["studies"]}

    def studies(self, split: str | None = None) -> Iterator[Study]:
        """Yield studies in the order of the source, a few hundred rows in memory at a time.

        Args:
            split: ``train``, ``val`` or ``test``; None or ``all`` for every study.
        """
        return studies_of(self._rows() if split in {None, "all"} else self._rows("split", (str(split),)))

    def choose(self, study_ids: Iterable[str]) -> list[Study]:
        """Studies of the given ids, in the order of the source."""
        return list(studies_of(self._rows("study_id", tuple(study_ids))))

    def outline(self) -> Iterator[tuple[str, bool, bool]]:
        """Yield (study id, has an image, has a report, a mask or a question) of every study.

        No more columns are read than needed.
        """
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(columns=["study_id", "image", "path", *_SAYING]):
                for row in batch.to_pylist():
                    if row["image"] == 0:
                        yield row["study_id"], row["path"] is not None, any(row[one] is not None for one in _SAYING)

    def splits(self) -> dict[str, str]:
        """Study id to its split."""
        import pyarrow.parquet as pq

        columns = pq.read_table(self.path, columns=["study_id", "split"]).to_pydict()
        return dict(zip(columns["study_id"], columns["split"], strict=True))

    def _rows(self, column: str | None = None, values: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                if column is None:
                    yield from batch.to_pylist()
                else:
                    chosen = pc.is_in(batch.column(column), value_set=pa.array(values, pa.string()))
                    yield from batch.filter(chosen).to_pylist()


def build(
    items: Iterable[Study | Rejection], path: Path, splits: SplitConfig, on_reject: Callable[[Rejection], None]
) -> ManifestSummary:
    """Write a manifest of everything that a reader yields, with each study's split.

    Only ids, patients and fingerprints stay in memory. A study whose id has come before is set aside.

    Args:
        items: What a reader yields.
        path: The manifest to write; it is replaced when all is well.
        splits: How patients are shared out.
        on_reject: Told of everything that is set aside.

    Raises:
        DataError: There is no study, the split cannot be made, or the reader finds its source unusable.
        ResourceError: The disk is full.
    """
    census, rejected = Census(), Counter[str]()
    with spool_beside(path) as spool:
        for item in items:
            if isinstance(item, Study) and census.add(item):
                spool.add(item)
                continue
            rejection = _duplicate(item) if isinstance(item, Study) else item
            rejected[rejection.reason] += 1
            on_reject(rejection)
        spool.close()
        if not census.members:
            got = ", ".join(f"{number} x {reason}" for reason, number in rejected.most_common()) or "an empty source"
            raise DataError(
                "no study can be used", where="data", got=got, fix="quarantine.jsonl says what was set aside."
            )
        assigned = sharing.assign(list(census.members.values()), splits)
        summary = _summary(census, assigned)
        metadata = {_METADATA: json.dumps({"format": FORMAT} | asdict(summary)).encode()}
        with replacing(path, _PRIVATE) as temporary:
            spool.finish(temporary, assigned, metadata)
    return summary


def _summary(census: Census, assigned: Mapping[str, str]) -> ManifestSummary:
    return ManifestSummary(
        counts=census.counts(),
        splits=sharing.sizes(assigned),
        patients=census.patients(assigned),
        split_hash=sharing.split_hash(assigned),
        data_hash=census.data_hash(),
    )


def _duplicate(study: Study) -> Rejection:
    detail = "a study of this id has come before; study ids must be unique over all patients"
    return Rejection(study.study_id, Reason.STUDY_DUPLICATE, detail)
