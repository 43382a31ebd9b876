"""Phantom studies as files: DICOM in the syntaxes that hospitals send, reports as text or Open-i XML, masks as PNG."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import numpy.typing as npt

from medmm.data.phantom.compression import (
    EXPLICIT,
    HELD_BITS,
    IMPLICIT,
    JPEG_2000,
    JPEG_BASELINE,
    JPEG_LOSSLESS,
    JPEG_LS,
    LOSSY,
    NATIVE,
    RLE,
    pixel_data,
)
from medmm.data.phantom.lateral import ORIENTATION, VIEW, Lateral
from medmm.data.phantom.study import PhantomStudy
from medmm.data.phantom.subject import stream

if TYPE_CHECKING:
    from pydicom import Dataset

    from medmm.data.phantom.ct import PhantomVolume

DX_IMAGE = "1.2.840.10008.5.1.4.1.1.1.1"  # Digital X-Ray Image Storage - For Presentation, PS3.6 table A-1
CR_IMAGE = "1.2.840.10008.5.1.4.1.1.1"
SYNTAXES = (EXPLICIT, IMPLICIT, JPEG_LOSSLESS, JPEG_LS, JPEG_2000, RLE)
MAKERS = ("Phantom Imaging DR 1", "Phantom Imaging DR 2", "Slabworks Mobile", "Slabworks Wall")


@dataclass(frozen=True)
class Form:
    """How a study's image is stored.

    Attributes:
        syntax: Transfer syntax UID.
        bits: Bits stored, 12 or 16.
        inverted: MONOCHROME1.
        windowed: Whether the header has a window.
        device: Index into ``MAKERS``.
        xml: Whether the report is Open-i XML, else plain text.
    """

    syntax: str
    bits: int
    inverted: bool
    windowed: bool
    device: int
    xml: bool


def form(seed: int, study: int, syntax: str | None = None) -> Form:
    """Draw how a study is stored, or take the transfer syntax that is asked for, with the bits that it holds."""
    drawn = _drawn(seed, study)
    if syntax is None:
        return drawn
    return replace(drawn, syntax=syntax, bits=HELD_BITS.get(syntax, drawn.bits))


def _drawn(seed: int, study: int) -> Form:
    rng = stream(seed, study, "form")
    return Form(
        syntax=SYNTAXES[int(rng.choice(len(SYNTAXES), p=[0.35, 0.1, 0.15, 0.15, 0.15, 0.1]))],
        bits=12 if rng.random() < 0.7 else 16,
        inverted=bool(rng.random() < 0.3),
        windowed=bool(rng.random() < 0.6),
        device=int(rng.integers(len(MAKERS))),
        xml=bool(rng.random() < 0.25),
    )


def uid(seed: int, number: int, kind: str) -> str:
    """A UID of the 2.25 root (PS3.5 B.2) that depends on seed, number and kind alone."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'medmm phantom {seed} {number} {kind}').int}"


def patient_id(seed: int, number: int) -> str:
    """Id of the patient whose first study has that number."""
    return f"PHANTOM-{seed}-{number:06d}"


def stored_values(grey: npt.NDArray[np.floating], how: Form) -> npt.NDArray[np.uint16]:
    """Grey values ``[H, W]`` in [0, 1] as the unsigned integers that the file holds."""
    top = 2**how.bits - 1
    values = np.rint(np.clip(grey, 0, 1) * top).astype(np.uint16)
    return (top - values).astype(np.uint16) if how.inverted else values


def write_image(path: Path, seed: int, study: PhantomStudy, syntax: str | None = None) -> Dataset:
    """Write the radiograph as a DX or CR object, in a transfer syntax of its own or the one that is asked for."""
    how = form(seed, study.place.study, syntax)
    dataset = _header(seed, study, how)
    _set_pixels(dataset, stored_values(study.grey, how), how.syntax)
    dataset.save_as(path, enforce_file_format=True)
    return dataset


def write_lateral(path: Path, seed: int, study: PhantomStudy, lateral: Lateral, syntax: str | None = None) -> None:
    """Write the lateral radiograph beside the frontal one, as a series of its own."""
    how, number = form(seed, study.place.study, syntax), study.place.study
    dataset = _header(seed, study, how)
    dataset.SOPInstanceUID = uid(seed, number, "lateral")
    dataset.SeriesInstanceUID = uid(seed, number, "lateral series")
    dataset.SeriesNumber, dataset.ViewPosition = 2, VIEW
    dataset.PatientOrientation = list(ORIENTATION)
    dataset.ImagerPixelSpacing = [f"{lateral.view.spacing_mm:.5f}"] * 2
    _set_pixels(dataset, stored_values(lateral.grey, how), how.syntax)
    dataset.save_as(path, enforce_file_format=True)


def write_report(folder: Path, seed: int, study: PhantomStudy | PhantomVolume) -> None:
    """Write the report beside the image, as ``report.txt`` or ``report.xml``."""
    if form(seed, study.place.study).xml:
        (folder / "report.xml").write_text(openi_xml(seed, study), encoding="utf-8")
    else:
        (folder / "report.txt").write_text(study.report.text(), encoding="utf-8")


def openi_xml(seed: int, study: PhantomStudy | PhantomVolume) -> str:
    """The report in the form of Open-i's collection."""
    sections = "".join(
        f"      <AbstractText Label={quoteattr(name.upper())}>{escape(body)}</AbstractText>\n"
        for name, body in study.report.sections.items()
        if name != "technique"  # the collection has none
    )
    number = study.place.study
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<eCitation>\n'
        f'  <uId id="PHANTOM{seed}-{number}"/>\n'
        f"  <MedlineCitation>\n    <Article>\n    <Abstract>\n{sections}    </Abstract>\n    </Article>\n"
        f'  </MedlineCitation>\n  <parentImage id="image"/>\n</eCitation>\n'
    )


def _header(seed: int, study: PhantomStudy, how: Form) -> Dataset:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID

    number, cr = study.place.study, how.device >= 2
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(how.syntax)
    dataset.SOPClassUID = CR_IMAGE if cr else DX_IMAGE
    dataset.SOPInstanceUID = uid(seed, number, "image")
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid(seed, number, "study"), uid(seed, number, "series")
    dataset.PatientID = patient_id(seed, study.place.patient)
    dataset.PatientName = f"Phantom^{study.place.patient:06d}"
    dataset.PatientSex, dataset.PatientAge = study.who.sex, f"{study.age:03d}Y"
    dataset.PatientBirthDate, dataset.ReferringPhysicianName = "", ""
    dataset.AccessionNumber, dataset.StudyID = f"PH{seed}-{number:06d}", str(number)
    dataset.StudyDate, dataset.StudyTime = study_date(study.place.days), "120000"
    dataset.Modality = "CR" if cr else "DX"
    dataset.Manufacturer, _, dataset.ManufacturerModelName = MAKERS[how.device].partition(" ")
    dataset.BodyPartExamined, dataset.ViewPosition = "CHEST", study.exposure.projection
    dataset.SeriesNumber, dataset.InstanceNumber = 1, 1
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.BurnedInAnnotation = "NO"
    if cr:
        dataset.PlateID = None
    else:
        dataset.PresentationIntentType, dataset.ImageLaterality = "FOR PRESENTATION", "U"
        dataset.PatientOrientation = ["L", "F"]
    dataset.ImagerPixelSpacing = [f"{study.pixel_mm:.5f}"] * 2
    _set_grey_scale(dataset, how)
    return dataset


def _set_grey_scale(dataset: Dataset, how: Form) -> None:
    dataset.PhotometricInterpretation = "MONOCHROME1" if how.inverted else "MONOCHROME2"
    dataset.PresentationLUTShape = "INVERSE" if how.inverted else "IDENTITY"
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.BitsAllocated = 8 if how.syntax == JPEG_BASELINE else 16
    dataset.BitsStored, dataset.HighBit = how.bits, how.bits - 1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
    dataset.LossyImageCompression = "01" if how.syntax in LOSSY else "00"
    if how.windowed:
        dataset.WindowCenter, dataset.WindowWidth = 2 ** (how.bits - 1), 2**how.bits


def _set_pixels(dataset: Dataset, values: npt.NDArray[np.uint16], syntax: str) -> None:
    dataset.Rows, dataset.Columns = values.shape
    dataset.PixelData = pixel_data(values[None], syntax, int(dataset.BitsStored))
    dataset["PixelData"].VR = "OW" if syntax in NATIVE else "OB"


def study_date(days: int) -> str:
    """Days after the phantom's first of January 2000, as DICOM writes a date."""
    from datetime import date, timedelta

    return f"{date(2000, 1, 1) + timedelta(days=days):%Y%m%d}"
