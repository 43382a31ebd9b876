"""Two passes over the studies: to a temporary file, then, once the split is known, to the manifest."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from medmm.data.readers._common import LoneKey
from medmm.data.records import Row, fingerprint, rows_of, schema
from medmm.data.splits import Member, in_several
from medmm.io.atomic import full_disk_named, temporary_beside
from medmm.types import SPLITS, Study

_GROUP_ROWS = 4096
_COUNTED = (
    "images", "reports", "paired", "with_masks", "with_questions",
    "image_without_report", "report_without_image", "report_without_target",
)  # fmt: skip


class Census:
    """Counts studies as they pass and remembers of each its id, patient, split and fingerprint."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self._patients: dict[str, str] = {}
        self._prints: list[bytes] = []
        self._counts: Counter[str] = Counter()

    def add(self, study: Study) -> bool:
        """Count a study; False, and nothing is counted, if its id has come before."""
        if study.study_id in self.members:
            return False
        key = self._patients.setdefault(study.patient_key, study.patient_key)  # one string a patient, not one a study
        self.members[study.study_id] = Member(study.study_id, key, study.split)
        self._prints.append(fingerprint(study))
        images, report = len(study.images), study.report
        self._counts["studies_without_patient"] += isinstance(study.patient_key, LoneKey)
        self._counts["images"] += images
        self._counts["reports"] += report is not None
        self._counts["paired"] += bool(images and report)
        self._counts["with_masks"] += bool(images and study.masks)
        self._counts["with_questions"] += bool(images and study.questions)
        self._counts["image_without_report"] += bool(images) and not (report or study.masks or study.questions)
        if report is not None:
            self._counts["report_without_image"] += not images
            self._counts["report_without_target"] += not {"findings", "impression"} & set(report.sections)
        return True

    def counts(self) -> dict[str, int]:
        """Counts, as :class:`medmm.data.manifest.ManifestSummary` explains them."""
        return {
            "studies": len(self.members),
            "patients": len(self._patients),
            **{name: self._counts[name] for name in _COUNTED},
            "patients_in_several_splits": len(in_several(self.members.values())),
            "studies_without_patient": self._counts["studies_without_patient"],
        }

    def patients(self, splits: Mapping[str, str]) -> dict[str, int]:
        """Patients in train, val and test."""
        pairs = {(splits[member.study_id], member.patient_key) for member in self.members.values()}
        return {name: sum(split == name for split, _ in pairs) for name in SPLITS}

    def data_hash(self) -> str:
        """SHA-256 over the sorted fingerprints, in hex."""
        return hashlib.sha256(b"".join(sorted(self._prints))).hexdigest()


class Spool:
    """The first pass's file.

    Args:
        path: The file; it holds report text, so only its owner may read it.
        manifest: What it is made for; errors name this one.
    """

    def __init__(self, path: Path, manifest: Path) -> None:
        import pyarrow.parquet as pq

        self._path, self._manifest = path, manifest
        self._writer = pq.ParquetWriter(path, schema())
        self._rows: list[Row] = []

    def add(self, study: Study) -> None:
        """Write a study.

        Raises:
            ResourceError: The disk is full.
        """
        self._rows.extend(rows_of(study))
        if len(self._rows) >= _GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        """Write what is left; nothing can be added afterwards.

        Raises:
            ResourceError: The disk is full.
        """
        self._flush()
        with full_disk_named(self._manifest):
            self._writer.close()

    def finish(self, path: Path, splits: Mapping[str, str], metadata: Mapping[bytes, bytes]) -> None:
        """Write the manifest: the rows as they were added, each with its split.

        Args:
            path: Where to.
            splits: Study id to split.
            metadata: Goes into the schema.

        Raises:
            ResourceError: The disk is full.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        final = schema().with_metadata(dict(metadata))
        at = final.get_field_index("split")
        with (
            full_disk_named(self._manifest),
            pq.ParquetFile(self._path) as source,
            pq.ParquetWriter(path, final) as writer,
        ):
            for batch in source.iter_batches(batch_size=_GROUP_ROWS):
                column = pa.array([splits[study_id] for study_id in batch.column("study_id").to_pylist()], pa.string())
                writer.write_batch(
                    batch.set_column(at, final.field(at), column).replace_schema_metadata(final.metadata)
                )

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            with full_disk_named(self._manifest):
                self._writer.write_table(pa.Table.from_pylist(self._rows, schema()))
            self._rows = []


@contextmanager
def spool_beside(path: Path) -> Iterator[Spool]:
    """Open a spool in the folder of ``path``, gone when the block ends.

    Raises:
        ResourceError: The disk is full.
        UsageError: The folder cannot be written.
    """
    with temporary_beside(path) as temporary:
        yield Spool(temporary, path)
