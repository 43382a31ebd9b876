"""A folder of phantom studies: made by several processes, complete or said to be not."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from medmm.data.phantom import files
from medmm.data.phantom.disease import FINDINGS, GRADED, Facts
from medmm.data.phantom.study import PhantomStudy, make_study
from medmm.errors import DataError, UsageError
from medmm.io.atomic import full_disk_named, replacing, write_json
from medmm.types import Status

FORMAT = 1
VERSION = 1
"""Rises whenever the same seed gives another study."""
TRUTH, STUDIES, DESCRIPTION = "truth.parquet", "studies.parquet", "phantom.json"
_CHUNK = 8


def generate(
    out: Path,
    studies: int,
    seed: int,
    size: int,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Write studies into ``out``; a folder that already holds just these is left as it is.

    ``out/<number>/image.dcm`` and ``report.txt`` or ``report.xml``, ``out/masks/<number>/<finding>.png`` (0 and 255),
    ``truth.parquet`` (a row a study and finding), ``studies.parquet`` and, once all is there, ``phantom.json``.

    Args:
        out: Folder, made if it is not there.
        studies: How many; the first studies of a larger set are the same.
        seed: Everything follows from it.
        size: Rows and columns of an image.
        workers: Processes; None: one a core.
        progress: Called with the number of studies that are done.

    Raises:
        UsageError: ``out`` holds something else.
        ResourceError: The disk is full.
    """
    wanted = {"format": FORMAT, "version": VERSION, "seed": seed, "studies": studies, "size": size}
    if _complete(out, wanted):
        return out
    with full_disk_named(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / "masks").mkdir(exist_ok=True)
    truth: list[dict[str, Any]] = []
    facts: list[dict[str, Any]] = []
    with full_disk_named(out, studies * 110_000 * size**2 // 256**2):
        for done, (fact, rows) in enumerate(_made(out, studies, seed, size, workers), 1):
            facts.append(fact)
            truth += rows
            if progress is not None:
                progress(done)
        _write_table(out / STUDIES, facts)
        _write_table(out / TRUTH, truth)
    write_json(out / DESCRIPTION, wanted | {"digest": digest(truth, facts)})
    return out


def cached(seed: int, studies: int, size: int, progress: Callable[[int], None] | None = None) -> Path:
    """The same studies in the user's cache (``$MEDMM_CACHE``, else ``~/.cache/medmm``), made on first use."""
    root = Path(os.environ.get("MEDMM_CACHE") or Path.home() / ".cache" / "medmm")
    name = f"phantom-v{VERSION}-{seed}-{studies}-{size}"
    return generate(root / name, studies, seed, size, progress=progress)


def require(folder: Path) -> None:
    """Check that a folder holds a complete phantom of this format.

    Raises:
        DataError: It does not.
    """
    file = folder / DESCRIPTION
    if not file.is_file():
        what = "the phantom is incomplete" if (folder / "masks").is_dir() else "no phantom in this folder"
        raise DataError(what, where="data.path", expected=DESCRIPTION, fix="Run medmm phantom --out with that folder.")
    said = _description(file)
    if said.get("format") != FORMAT:
        raise DataError("a phantom of another format", where="data.path", got=said.get("format"), expected=FORMAT)


def digest(truth: list[dict[str, Any]], facts: list[dict[str, Any]]) -> str:
    """SHA-256 over truth and facts, which no rounding of a processor can change."""
    return hashlib.sha256(json.dumps([truth, facts], sort_keys=True).encode()).hexdigest()


def study_rows(seed: int, number: int, study: PhantomStudy) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What is true of a study: its facts, and a row for each of the twelve findings."""
    place = study.place
    how = files.form(seed, number)
    study_id = files.uid(seed, number, "study")
    fact = {
        "study_id": study_id,
        "number": number,
        "patient_id": files.patient_id(seed, place.patient),
        "sex": study.who.sex,
        "age": study.age,
        "view": study.exposure.projection,
        "device": files.MAKERS[how.device],
        "days": place.days,
        "prior": files.uid(seed, place.prior, "study") if place.prior is not None else None,
        "radiologist": study.report.style,
        "heart_share": round(study.heart_share, 4),
        "report": "report.xml" if how.xml else "report.txt",
    }
    here = {condition.name: condition for condition in study.conditions}
    rows = []
    for name in FINDINGS:
        found, facts = here.get(name), study.facts.get(name, Facts())
        masked = found is not None and name in study.masks and bool(study.masks[name].any())
        rows.append(
            {
                "study_id": study_id,
                "patient_id": fact["patient_id"],
                "finding": name,
                "status": str(Status.PRESENT if found else Status.ABSENT),
                "laterality": str(found.side) if found and found.side else None,
                "zone": str(facts.zone or found.zone) if found and (facts.zone or found.zone) else None,
                "severity": str(found.severity) if found and name in GRADED else None,
                "size_mm": facts.size_mm if found else None,
                "mask": f"masks/{number:06d}/{name}.png" if masked else None,
                "change": found.change if found else None,
                "said": str(study.report.said[name]),
                "hedged": study.report.said[name] is Status.UNCERTAIN,
            }
        )
    return fact, rows


def _made(
    out: Path, studies: int, seed: int, size: int, workers: int | None
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    count = min(workers or len(os.sched_getaffinity(0)), max(1, studies // _CHUNK))
    jobs = [(str(out), seed, number, size) for number in range(studies)]
    pool: Any = ProcessPoolExecutor(count, initializer=_single_thread) if count > 1 else nullcontext()
    with pool as executor:
        made = executor.map(_make, jobs, chunksize=_CHUNK) if isinstance(executor, Executor) else map(_make, jobs)
        yield from made


def _single_thread() -> None:
    import cv2

    cv2.setNumThreads(1)  # the processes already fill the cores


def _make(job: tuple[str, int, int, int]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Write one study; runs in a worker. Files are plain: ``phantom.json`` alone says that all is complete."""
    import cv2
    import numpy as np

    place, seed, number, size = job
    study = make_study(seed, number, size)
    fact, rows = study_rows(seed, number, study)
    folder = Path(place) / f"{number:06d}"
    folder.mkdir(exist_ok=True)
    files.write_image(folder / "image.dcm", seed, study)
    files.write_report(folder, seed, study)
    for row in rows:
        if row["mask"]:
            file = Path(place) / row["mask"]
            file.parent.mkdir(exist_ok=True)
            _, png = cv2.imencode(".png", study.masks[row["finding"]].astype(np.uint8) * 255)
            file.write_bytes(png.tobytes())
    return fact, rows


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows), temporary)


def _complete(out: Path, wanted: Mapping[str, int]) -> bool:
    file = out / DESCRIPTION
    if not file.is_file():
        if out.is_dir() and any(out.iterdir()) and not (out / "masks").is_dir():
            raise UsageError(
                "the folder holds something else", where="--out", fix="Name an empty folder, or a new one."
            )
        return False
    said = _description(file)
    if {key: said.get(key) for key in wanted} == dict(wanted):
        return True
    differing = [f"{key} {said.get(key)}" for key in wanted if said.get(key) != wanted[key]]
    raise UsageError(
        "the folder holds another phantom",
        where="--out",
        got=", ".join(differing),
        expected=", ".join(f"{key} {value}" for key, value in wanted.items()),
        fix="Name another folder, or delete it.",
    )


def _description(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        return {}
