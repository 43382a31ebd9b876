"""An archive of embedded studies: a Parquet file with a row a study, an index over the rows, and ``index.json``.

The rows hold study ids and paths, so all files but ``index.json`` are readable by their owner alone (mode 0600).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medmm.errors import CheckpointError, DataError, UsageError
from medmm.io import atomic
from medmm.reports.findings import NO_FINDING
from medmm.scoring import nearest
from medmm.scoring.lines import PRIVATE
from medmm.scoring.study_filter import StudyFilter
from medmm.types import Finding, Status, Study, study_tag

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
ROWS, VECTORS, IDENTITY = "embeddings.parquet", "index.faiss", "index.json"
QUARANTINE, INDEXED = "quarantine.jsonl", "data"
FILES = (ROWS, VECTORS, IDENTITY, QUARANTINE, INDEXED)
_SHOWN = 8  # digits of a hash
_ANEW = "Make it anew with embed."
_BLOCK = 16_384  # rows read at a time
Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Hit:
    """A study that was found.

    Attributes:
        study_id: The study.
        score: Cosine of its embedding and the query's, in [-1, 1].
        modality: DICOM modality, None if unknown.
        views: Names of its views.
        findings: What is present, each with ``name``, ``laterality`` and ``severity``; None if nothing was said.
        days: Days since the patient's first study, None if unknown.
        path: Its first image, for a thumbnail.
    """

    study_id: str
    score: float
    modality: str | None
    views: tuple[str, ...]
    findings: tuple[Mapping[str, str | None], ...] | None
    days: int | None
    path: Path

    @property
    def tag(self) -> str:
        """The study's name for logs and pictures."""
        return study_tag(self.study_id)

    @property
    def finding_words(self) -> str:
        """What is present, in words: ``small left pleural effusion, cardiomegaly``."""
        if self.findings is None:
            return ""
        parts = ([one["severity"], one["laterality"], str(one["name"]).replace("_", " ")] for one in self.findings)
        return ", ".join(" ".join(part for part in some if part) for some in parts) or "nothing present"


def row_of(study: Study, findings: Mapping[str, Finding] | None) -> dict[str, Any]:
    """What an archive keeps of a study that has an image; of a volume in several files the middle one's path."""
    first = study.images[0]
    path = first.slices[len(first.slices) // 2] if first.slices else first.path
    present = None if findings is None else [
        {"name": name, "laterality": one.laterality, "severity": one.severity}
        for name, one in sorted(findings.items())
        if one.status is Status.PRESENT and name != NO_FINDING
    ]  # fmt: skip
    return {
        "study_id": study.study_id,
        "modality": next((image.modality for image in study.images if image.modality), None),
        "views": list(dict.fromkeys(image.view for image in study.images if image.view)),
        "findings": present,
        "days": study.days,
        "path": str(path),
    }


def schema(width: int) -> pa.Schema:
    """Columns of ``embeddings.parquet`` for embeddings of ``width`` numbers."""
    import pyarrow as pa

    text = pa.string()
    finding = pa.struct([("name", text), ("laterality", text), ("severity", text)])
    return pa.schema(
        [
            pa.field("study_id", text),
            pa.field("modality", text),
            pa.field("views", pa.list_(text)),
            pa.field("findings", pa.list_(finding)),
            pa.field("days", pa.int32()),
            pa.field("path", text),
            pa.field("embedding", pa.list_(pa.float32(), width)),
        ]
    )


def require_free(out: Path, *, replace: bool) -> None:
    """Check that an archive written to ``out`` destroys nothing else.

    Args:
        out: The folder.
        replace: Whether an archive may lie there.

    Raises:
        UsageError: It is a file, or holds something.
    """
    if out.exists() and not out.is_dir():
        raise UsageError("the output is a file", where="--out", expected="a folder")
    found = [path.name for path in out.glob("*") if not path.name.startswith(atomic.PREFIX)]
    if foreign := [name for name in found if name not in FILES]:
        got, expected = len(foreign), "an empty folder, or an earlier archive"
        raise UsageError(
            "the folder holds other things than an archive", where="--out", got=got, expected=expected,
            fix="Choose another --out.",
        )  # fmt: skip
    if found and not replace:
        fix = "Choose another --out, or add --resume to replace it."
        raise UsageError("the folder holds an archive", where="--out", fix=fix)


def write(out: Path, blocks: Iterable[tuple[Sequence[dict[str, Any]], Array]], identity: Mapping[str, Any]) -> int:
    """Write an archive; memory holds a block and the index. ``index.json`` comes last: without it, none is finished.

    Args:
        out: Folder to write to.
        blocks: Rows (:func:`row_of`) with their embeddings ``[N, D]`` of length 1, a few thousand at a time.
        identity: ``weights_sha256`` and ``preprocess_sha256`` of the model, and what else ``index.json`` says.

    Returns:
        Number of studies.

    Raises:
        DataError: There is no study.
        UsageError: FAISS is not installed.
        ResourceError: The disk is full.
    """
    nearest.require_faiss()
    (out / IDENTITY).unlink(missing_ok=True)
    number, width = _write_rows(out / ROWS, blocks)
    kind = nearest.build(_embeddings(out / ROWS), width, number, out / VECTORS)
    record = {"format": FORMAT, **identity, "width": width, "number": number, "kind": kind}
    atomic.write_json(out / IDENTITY, record)
    return number


def _write_rows(path: Path, blocks: Iterable[tuple[Sequence[dict[str, Any]], Array]]) -> tuple[int, int]:
    """Number of rows and width of an embedding."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number, width, writer = 0, 0, None
    with atomic.replacing(path, PRIVATE) as temporary:
        try:
            for rows, vectors in blocks:
                if writer is None:
                    width = vectors.shape[1]
                    writer = pq.ParquetWriter(temporary, schema(width))
                columns = schema(width)
                said = pa.Table.from_pylist(list(rows), pa.schema(list(columns)[:-1]))
                flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
                writer.write_table(said.append_column(columns[-1], pa.FixedSizeListArray.from_arrays(flat, width)))
                number += len(rows)
        finally:
            if writer is not None:
                writer.close()
        if not number:
            expected = "a study with an image that can be read"
            raise DataError("no study can be embedded", where="data", expected=expected)
    return number, width


def _embeddings(path: Path) -> Iterator[Array]:
    """Embeddings of an archive, ``[N, D]`` at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BLOCK, columns=["embedding"]):
            column = batch.column(0)
            yield column.flatten().to_numpy().reshape(len(column), -1)


class Archive:
    """An archive on disk, its rows and its index in memory.

    Attributes:
        identity: What ``index.json`` says.
        table: The rows without their embeddings.
        index: The index over them.
    """

    def __init__(self, folder: Path) -> None:
        """Read an archive.

        Raises:
            DataError: It is none, not finished, of another format or broken.
            UsageError: FAISS is not installed.
        """
        import pyarrow.parquet as pq

        self.identity = _identity(folder / IDENTITY)
        with _readable():
            names = [name for name in pq.read_schema(folder / ROWS).names if name != "embedding"]
            self.table = pq.read_table(folder / ROWS, columns=names)
        self.index = nearest.NearestIndex(folder / VECTORS, self.identity["kind"])
        number, width = self.identity["number"], self.identity["width"]
        if {number, self.table.num_rows} != {self.index.shape[0]} or width != self.index.shape[1]:
            got = f"{self.table.num_rows} rows, an index of {self.index.shape[0]}"
            raise _broken(got, f"{number} of each")

    def require_own(self, provenance: Mapping[str, Any]) -> None:
        """Refuse a model that did not make the archive: its embeddings lie in another space.

        Args:
            provenance: The model's.

        Raises:
            CheckpointError: The weights or the preprocessing are others.
        """
        for key in ("weights_sha256", "preprocess_sha256"):
            own, other = str(self.identity.get(key)), str(provenance.get(key))
            if own != other:
                raise CheckpointError(
                    "the archive was embedded by another model", where="--run", got=f"{key} {other[:_SHOWN]}",
                    expected=own[:_SHOWN], fix="Name the run that made it, or embed the archive with this one.",
                )  # fmt: skip

    def search(self, query: Array, top: int, asked: StudyFilter | None = None) -> tuple[list[Hit], int]:
        """Find the studies nearest to a query.

        Args:
            query: ``[D]``, of length 1.
            top: Studies to find.
            asked: What they must have.

        Returns:
            The studies, best first; and how many there were to choose from.

        Raises:
            UsageError: No study passes the filter.
        """
        allowed = asked.passing(self.table) if asked else None
        scores, places = self.index.search(query, top, allowed)
        rows = self.table.take(places).to_pylist()
        hits = [_hit(row, float(score)) for row, score in zip(rows, scores, strict=True)]
        return hits, self.table.num_rows if allowed is None else int(allowed.sum())


def _hit(row: Mapping[str, Any], score: float) -> Hit:
    findings = None if row["findings"] is None else tuple(row["findings"])
    views, path = tuple(row["views"] or ()), Path(row["path"])
    return Hit(row["study_id"], score, row["modality"], views, findings, row["days"], path)


def _identity(path: Path) -> dict[str, Any]:
    if not path.is_file():
        got, fix = f"no {IDENTITY}", "Name the --out of embed; one that was cut off is made anew."
        raise DataError("there is no finished archive", where="--index", got=got, fix=fix)
    try:
        record = json.loads(path.read_bytes())
        version = record["format"]
        _ = int(record["number"]), int(record["width"]), {nearest.EXACT: 0, nearest.HNSW: 1}[record["kind"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _broken(f"an {IDENTITY} that cannot be read") from error
    if version != FORMAT:
        got, expected = f"format {version}", f"format {FORMAT}"
        raise DataError("an archive of another format", where="--index", got=got, expected=expected, fix=_ANEW)
    return dict(record)


@contextmanager
def _readable() -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        raise _broken(f"a {ROWS} that cannot be read") from error


def _broken(got: str, expected: str | None = None) -> DataError:
    return DataError("the archive is broken", where="--index", got=got, expected=expected, fix=_ANEW)
