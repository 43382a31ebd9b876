"""Volumes as DICOM series: CT and MR slices or one enhanced object, tidy or with what real folders have wrong.

Every slice holds what the volume shows where the slice lies, so a tilted, oblique or uneven series is true in space.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medmm.data.phantom import series_objects
from medmm.data.phantom.compression import EXPLICIT
from medmm.errors import UsageError
from medmm.io.resample import LINEAR, sample

if TYPE_CHECKING:
    from pydicom import Dataset

_Matrix = npt.NDArray[np.float64]
PHASE_ELEMENTS = ("acquisition", "temporal", "echo", "trigger", "b_value", "none")


@dataclass(frozen=True)
class SeriesForm:
    """How a volume is written.

    Attributes:
        modality: ``CT`` or ``MR``.
        syntax: Transfer Syntax UID, one of :data:`medmm.data.phantom.compression.SYNTAXES`.
        missing: Slices that are left out, counted along D; several in a row make a wide gap.
        jitter: Largest part of a step, below 0.5, by which slices lie beside their even places.
        tilt_deg: Gantry tilt: planes turn about their rows' direction, while their centres stay on the axis of D.
        oblique_deg: Turns about the patient's right, front and head axes, around the centre of the volume.
        shuffled: Whether file names, instance numbers and the order of frames say nothing about the order in space.
        duplicates: Slices that are written twice, the second time with an instance UID of its own.
        copies: Slices that are written twice with the same instance UID.
        localizer: Whether a localizer of the same series lies in the folder.
        phases_by: What tells the volumes of a 4D array apart: ``acquisition``, ``temporal``, ``echo``, ``trigger``
            (times that differ a little from slice to slice), ``b_value``, or ``none`` but the instance numbers.
        enhanced: Whether one multi-frame object is written instead of a file a slice.
        slope_varies: Whether each slice has a rescale slope of its own, as in PET.
    """

    modality: str = "CT"
    syntax: str = EXPLICIT
    missing: tuple[int, ...] = ()
    jitter: float = 0.0
    tilt_deg: float = 0.0
    oblique_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shuffled: bool = False
    duplicates: tuple[int, ...] = ()
    copies: tuple[int, ...] = ()
    localizer: bool = False
    phases_by: str = "acquisition"
    enhanced: bool = False
    slope_varies: bool = False


def write_series(
    folder: str | Path,
    volume: npt.NDArray[Any],
    affine: _Matrix,
    how: SeriesForm | None = None,
    *,
    seed: int = 0,
    number: int = 0,
    name: str = "series",
    elements: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write a volume as a DICOM series.

    Args:
        folder: Where the files go; made if it is not there.
        volume: HU for CT, arbitrary units from 0 for MR; ``[D, H, W]``, or ``[T, D, H, W]`` for phases at the same
            places. Values are rounded to whole numbers, and to steps of the slope where it varies.
        affine: 4x4, maps (d, h, w, 1) to RAS millimetres; its axes stand at right angles. Rows of the images run
            along W, columns along H.
        how: What the series is like; a tidy CT if None.
        seed: Seed of jitter, shuffling and slopes, and a part of the UIDs.
        number: Number of the study, a part of the UIDs.
        name: Name of the series, a part of the UIDs.
        elements: Elements to add to or replace in every object, keyword to value, such as ``PatientID``.

    Returns:
        The files, in the order of their names.

    Raises:
        UsageError: ``how`` asks for a modality, phase element or transfer syntax that is not written.
    """
    how = how or SeriesForm()
    _check(how)
    rng = np.random.default_rng([seed, number])
    phases = np.asarray(volume)[None] if np.ndim(volume) == 3 else np.asarray(volume)
    slices = _slices(phases, affine, how, rng)
    Path(folder).mkdir(parents=True, exist_ok=True)
    order = rng.permutation(len(slices)) if how.shuffled else np.arange(len(slices))
    identity = series_objects.Identity(seed, number, name, how.modality, how.syntax, how.tilt_deg)
    datasets = _objects(identity, [slices[place] for place in order], how)
    if how.localizer:
        datasets.insert(len(datasets) // 2, series_objects.localizer(identity, phases[0], affine))
    return _save(Path(folder), datasets, elements or {}, rng if how.shuffled else None)


def slice_affines(
    shape: tuple[int, ...], affine: _Matrix, how: SeriesForm, rng: np.random.Generator
) -> dict[int, _Matrix]:
    """Slice number to the affine of its plane, (0, h, w, 1) to RAS mm, for the slices that are written."""
    centre = (np.array(shape) - 1) / 2
    middle = affine @ [*centre, 1]
    turned = _about(middle[:3], _rotation(how.oblique_deg)) @ affine
    axis = turned[:3, 2] / np.linalg.norm(turned[:3, 2])
    tilt = _turn(axis, np.deg2rad(how.tilt_deg))
    planes = {}
    for index in range(shape[0]):
        place = index + (rng.uniform(-how.jitter, how.jitter) if how.jitter else 0.0)
        plane = turned.copy()
        plane[:3, 3] += place * turned[:3, 0]
        if how.tilt_deg:
            pivot = plane @ [0, centre[1], centre[2], 1]
            plane = _about(pivot[:3], tilt) @ plane
            plane[:3, 0] = turned[:3, 0]
        if index not in how.missing:
            planes[index] = plane
    return planes


def _slices(
    phases: npt.NDArray[Any], affine: _Matrix, how: SeriesForm, rng: np.random.Generator
) -> list[series_objects.Slice]:
    """What is shown of ``phases``, ``[T, D, H, W]``: the phases of a plane one after the other, plane by plane."""
    slices = []
    for index, plane in slice_affines(phases.shape[1:], affine, how, rng).items():
        for phase, volume in enumerate(phases):
            shown, said = _cut(volume, affine, plane), _phase_values(how, phase, rng)
            slope = float(np.round(rng.uniform(0.5, 2), 3)) if how.slope_varies else 1.0
            slices.append(series_objects.Slice(index, phase, plane, shown, said, slope))
    return slices


def _cut(volume: npt.NDArray[Any], affine: _Matrix, plane: _Matrix) -> npt.NDArray[np.float32]:
    """What a plane shows of the volume, float32 ``[H, W]``; the least value outside it."""
    matrix = np.linalg.inv(affine) @ plane
    matrix[np.abs(matrix - np.rint(matrix)) < 1e-9] = np.rint(matrix)[np.abs(matrix - np.rint(matrix)) < 1e-9]
    return np.asarray(sample(volume, matrix, (1, *volume.shape[1:]), LINEAR, float(volume.min()))[0])


def _rotation(degrees: tuple[float, float, float]) -> _Matrix:
    turns = [_turn(axis, np.deg2rad(angle)) for axis, angle in zip(np.eye(3), degrees, strict=True)]
    return np.asarray(turns[2] @ turns[1] @ turns[0])


def _turn(axis: _Matrix, angle: float) -> _Matrix:
    """3x3 rotation about a unit vector (Rodrigues)."""
    cross = np.cross(np.eye(3), -axis)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def _about(point: _Matrix, rotation: _Matrix) -> _Matrix:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = point - rotation @ point
    return matrix


def _phase_values(how: SeriesForm, phase: int, rng: np.random.Generator) -> dict[str, float]:
    """What the header of a slice says of its phase."""
    values: dict[str, dict[str, float]] = {
        "acquisition": {"AcquisitionNumber": phase + 1},
        "temporal": {"TemporalPositionIdentifier": phase + 1},
        "echo": {"EchoNumbers": phase + 1, "EchoTime": 10.0 * (phase + 1)},
        "trigger": {"TriggerTime": round(33.0 * phase + rng.uniform(0, 5), 2)},
        "b_value": {"DiffusionBValue": 500.0 * phase},
        "none": {},
    }
    return values[how.phases_by]


def _objects(identity: series_objects.Identity, slices: list[series_objects.Slice], how: SeriesForm) -> list[Dataset]:
    """Slices as one object, or each as one with the repeats behind them."""
    if how.enhanced:
        return [series_objects.enhanced(identity, slices)]
    singles = [series_objects.single(identity, cut, place + 1) for place, cut in enumerate(slices)]
    return singles + _repeats(identity, slices, how)


def _repeats(identity: series_objects.Identity, slices: list[series_objects.Slice], how: SeriesForm) -> list[Dataset]:
    """Slices that are in the folder for the second time."""
    repeats = []
    for place, cut in enumerate(slices):
        if cut.phase == 0 and cut.index in how.copies:
            repeats.append(series_objects.single(identity, cut, place + 1))
        if cut.phase == 0 and cut.index in how.duplicates:
            again = series_objects.single(identity, cut, len(slices) + place + 1)
            again.SOPInstanceUID = again.SOPInstanceUID[:-4] + "9999"
            repeats.append(again)
    return repeats


def _save(
    folder: Path, datasets: list[Dataset], elements: Mapping[str, Any], rng: np.random.Generator | None
) -> list[Path]:
    names = np.arange(len(datasets)) if rng is None else rng.permutation(len(datasets))
    paths = []
    for place, dataset in zip(names, datasets, strict=True):
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        path = folder / f"IM{place:05d}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return sorted(paths)


def _check(how: SeriesForm) -> None:
    if how.modality not in series_objects.CLASSES:
        raise UsageError("this modality is not written", got=how.modality, expected="CT or MR")
    if how.phases_by not in PHASE_ELEMENTS:
        raise UsageError("phases are not told apart by this", got=how.phases_by, expected=" | ".join(PHASE_ELEMENTS))
    if not 0 <= how.jitter < 0.5:
        raise UsageError("slices would change places", got=how.jitter, expected="a jitter from 0 to below 0.5")
