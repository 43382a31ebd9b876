"""A folder of phantom studies: made by several processes, complete or said to be not."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.data.phantom import companions, ct, files, pool
from medmm.data.phantom.ct import PhantomVolume
from medmm.data.phantom.disease import FINDINGS, GRADED, Facts
from medmm.data.phantom.options import Options
from medmm.data.phantom.study import PhantomStudy, make_study
from medmm.errors import DataError, UsageError
from medmm.io.atomic import full_disk_named, replacing, write_json
from medmm.types import Status

FORMAT = 1
VERSION = 1
"""Rises whenever the same seed gives another study."""
TRUTH, STUDIES, DESCRIPTION = "truth.parquet", "studies.parquet", "phantom.json"
LATERAL = "lateral.dcm"
SCANNER = "Phantom Imaging CT 1"
USUAL = Options()
_CHUNK = 8


def generate(
    out: Path,
    studies: int,
    seed: int,
    size: int,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
    options: Options = USUAL,
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
        options: Lateral views beside the frontal ones (``lateral.dcm``), or CT scans instead (``image.nii.gz`` or a
            series in ``image/``, with ``label.nii.gz``), masks then being NIfTI too.

    Raises:
        UsageError: ``out`` holds something else.
        ResourceError: The disk is full.
    """
    wanted = {"format": FORMAT, "version": VERSION, "seed": seed, "studies": studies, "size": size}
    wanted |= options.said()
    if _complete(out, wanted):
        return out
    with full_disk_named(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / "masks").mkdir(exist_ok=True)
    truth: list[dict[str, Any]] = []
    facts: list[dict[str, Any]] = []
    with full_disk_named(out, studies * options.study_bytes(size)):
        for done, (fact, rows) in enumerate(_made(out, studies, seed, size, workers, options), 1):
            facts.append(fact)
            truth += rows
            if progress is not None:
                progress(done)
        _write_table(out / STUDIES, facts)
        _write_table(out / TRUTH, truth)
    labels = {"labels": dict(ct.LABELS)} if options.ct else {}
    write_json(out / DESCRIPTION, wanted | labels | {"digest": digest(truth, facts)})
    return out


def cached(
    seed: int, studies: int, size: int, progress: Callable[[int], None] | None = None, options: Options = USUAL
) -> Path:
    """The same studies in the user's cache (``$MEDMM_CACHE``, else ``~/.cache/medmm``), made on first use."""
    root = Path(os.environ.get("MEDMM_CACHE") or Path.home() / ".cache" / "medmm")
    name = f"phantom-v{VERSION}-{seed}-{studies}-{size}{options.suffix}"
    return generate(root / name, studies, seed, size, progress=progress, options=options)


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


def study_rows(
    seed: int, number: int, study: PhantomStudy | PhantomVolume
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
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
    out: Path, studies: int, seed: int, size: int, workers: int | None, options: Options
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    jobs = [(str(out), seed, number, size, options) for number in range(studies)]
    return pool.in_order(_make, jobs, _CHUNK, workers)


def _make(job: tuple[str, int, int, int, Options]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Write one study; runs in a worker. Files are plain: ``phantom.json`` alone says that all is complete."""
    place, seed, number, size, options = job
    folder = Path(place) / f"{number:06d}"
    folder.mkdir(exist_ok=True)
    if options.ct:
        return _make_scan(Path(place), seed, number, options)
    study = make_study(seed, number, size, options.lateral)
    fact, rows = study_rows(seed, number, study)
    image = files.write_image(folder / "image.dcm", seed, study, options.syntax(number))
    if "report" in options.objects:
        fact["report"] = companions.REPORT
    else:
        files.write_report(folder, seed, study)
    companions.beside_radiograph(folder, seed, study, image, options.objects)
    for row in rows:
        if row["mask"]:
            _write_mask(Path(place) / row["mask"], study.masks[row["finding"]])
    if options.organs:
        fact["organs"] = [f"masks/{number:06d}/{name}.png" for name in study.organs]
        for name, mask in study.organs.items():
            _write_mask(Path(place) / f"masks/{number:06d}/{name}.png", mask)
    if options.lateral:
        _add_lateral(Path(place), seed, study, fact, rows, options.syntax(number))
    return fact, rows


def _add_lateral(
    place: Path,
    seed: int,
    study: PhantomStudy,
    fact: dict[str, Any],
    rows: list[dict[str, Any]],
    syntax: str | None,
) -> None:
    """Write the lateral view where there is one, and say so in the study's facts and rows."""
    number, side = study.place.study, study.lateral
    fact["lateral"] = LATERAL if side is not None else None
    for row in rows:
        row["lateral_mask"] = None
        mask = side.masks.get(row["finding"]) if side is not None else None
        if mask is not None and mask.any():
            row["lateral_mask"] = f"masks/{number:06d}/lateral_{row['finding']}.png"
            _write_mask(place / row["lateral_mask"], mask)
    if side is not None:
        files.write_lateral(place / f"{number:06d}" / LATERAL, seed, study, side, syntax)


def _make_scan(place: Path, seed: int, number: int, options: Options) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Write one study as a CT scan."""
    from medmm.data.phantom import scans

    volume = ct.make_volume(seed, number, options.volume_shape, options.volume_spacing_mm)
    fact, rows = study_rows(seed, number, volume)
    image = scans.write_scan(place, seed, volume, options)
    if "report" in options.objects:
        fact["report"] = companions.REPORT
    else:
        files.write_report(place / f"{number:06d}", seed, volume)
    fact |= {"view": None, "device": SCANNER, "modality": "CT", "image": image, "label": scans.LABELS}
    for row in rows:
        masked = row["mask"] is not None
        row["mask"] = scans.mask_file(number, row["finding"]) if masked else None
        row["volume_ml"] = round(volume.volume_ml(row["finding"]), 3) if masked else None
    return fact, rows


def _write_mask(file: Path, mask: npt.NDArray[np.bool_]) -> None:
    import cv2

    file.parent.mkdir(exist_ok=True)
    _, png = cv2.imencode(".png", mask.astype(np.uint8) * 255)
    file.write_bytes(png.tobytes())


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows), temporary)


def _complete(out: Path, wanted: Mapping[str, Any]) -> bool:
    file = out / DESCRIPTION
    if not file.is_file():
        if out.is_dir() and any(out.iterdir()) and not (out / "masks").is_dir():
            raise UsageError(
                "the folder holds something else", where="--out", fix="Name an empty folder, or a new one."
            )
        return False
    said = _description(file)
    asked = set(wanted)
    wanted = USUAL.whole() | dict(wanted)
    said = USUAL.whole() | said
    if {key: said.get(key) for key in wanted} == wanted:
        return True
    differing = [f"{key} {said.get(key)}" for key in wanted if said.get(key) != wanted[key]]
    raise UsageError(
        "the folder holds another phantom",
        where="--out",
        got=", ".join(differing),
        expected=", ".join(f"{key} {value}" for key, value in wanted.items() if key in asked),
        fix="Name another folder, or delete it.",
    )


def _description(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        return {}
