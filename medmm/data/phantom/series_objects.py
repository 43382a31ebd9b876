"""CT, MR, Enhanced CT and Enhanced MR image objects of a phantom's series (PS3.3 A.3, A.4, A.38, A.36)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medmm.data.phantom.compression import NATIVE, pixel_data
from medmm.data.phantom.files import patient_id, uid

if TYPE_CHECKING:
    from pydicom import Dataset

CLASSES = {
    "CT": ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"),
    "MR": ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"),
}
"""SOP classes of a single slice and of the enhanced object."""
_LPS = np.array([-1.0, -1.0, 1.0])
_DIGITS = 10
"""Decimals of positions and directions; a decimal string holds 16 characters (PS3.5 6.2)."""
_INTERCEPT = {"CT": -1024.0, "MR": 0.0}


@dataclass(frozen=True)
class Identity:
    """What all objects of a series share: parts of the UIDs, modality, transfer syntax, gantry tilt in degrees."""

    seed: int
    number: int
    name: str
    modality: str
    syntax: str
    tilt_deg: float


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice.

    Attributes:
        index: Its number in the volume.
        phase: Its phase.
        plane: 4x4, maps (d, h, w, 1) to RAS mm; the first column is the step to the next slice.
        values: float32 ``[H, W]`` in the modality's units.
        told: What the header says of its phase, keyword to value.
        slope: Rescale slope.
    """

    index: int
    phase: int
    plane: npt.NDArray[np.float64]
    values: npt.NDArray[np.float32]
    told: dict[str, float]
    slope: float


def single(identity: Identity, cut: Slice, instance: int) -> Dataset:
    """A CT or MR image object of one slice."""
    dataset = _header(identity, CLASSES[identity.modality][0], f"{cut.index} {cut.phase}", instance)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL" if identity.modality == "CT" else "M"]
    _put_plane(dataset, dataset, dataset, cut.plane)
    for keyword, value in cut.told.items():
        setattr(dataset, keyword, int(value) if keyword in _WHOLE else value)
    if identity.modality == "CT" or cut.slope != 1:
        dataset.RescaleIntercept, dataset.RescaleSlope = _INTERCEPT[identity.modality], cut.slope
        dataset.RescaleType = "HU" if identity.modality == "CT" else "US"
    _put_pixels(dataset, identity, [cut], enhanced=False)
    return dataset


_WHOLE = ("AcquisitionNumber", "TemporalPositionIdentifier", "EchoNumbers")


def enhanced(identity: Identity, slices: Sequence[Slice]) -> Dataset:
    """One enhanced CT or MR image object; its frames come in the order of ``slices``."""
    from pydicom.dataset import Dataset

    dataset = _header(identity, CLASSES[identity.modality][1], "enhanced", 1)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.NumberOfFrames = len(slices)
    shared = Dataset()
    measures, orientation = Dataset(), Dataset()
    _put_plane(Dataset(), orientation, measures, slices[0].plane)
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [_frame_groups(identity, cut) for cut in slices]
    _put_pixels(dataset, identity, slices, enhanced=True)
    return dataset


def localizer(identity: Identity, volume: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> Dataset:
    """A localizer: the mean along H, so that D runs down and W to the right."""
    dataset = _header(identity, CLASSES[identity.modality][0], "localizer", 9999)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    plane = np.eye(4)
    plane[:3, 0], plane[:3, 1], plane[:3, 2] = affine[:3, 1], -affine[:3, 0], affine[:3, 2]
    top = volume.shape[0] - 1
    plane[:3, 3] = (affine @ [top, (volume.shape[1] - 1) / 2, 0, 1])[:3]
    _put_plane(dataset, dataset, dataset, plane)
    dataset.RescaleIntercept, dataset.RescaleSlope = _INTERCEPT[identity.modality], 1
    values = volume.mean(axis=1)[::-1].astype(np.float32)
    _put_pixels(dataset, identity, [Slice(0, 0, plane, values, {}, 1.0)], enhanced=False)
    return dataset


def _header(identity: Identity, sop_class: str, instance_name: str, instance: int) -> Dataset:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(identity.syntax)
    seed, number, name = identity.seed, identity.number, identity.name
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, uid(seed, number, f"{name} {instance_name}")
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid(seed, number, "study"), uid(seed, number, name)
    dataset.FrameOfReferenceUID = uid(seed, number, "frame of reference")
    dataset.PatientID, dataset.PatientName = patient_id(seed, number), f"Phantom^{number:06d}"
    dataset.PatientBirthDate, dataset.PatientSex, dataset.ReferringPhysicianName = "", "", ""
    dataset.StudyDate, dataset.StudyTime = "20000101", "120000"
    dataset.AccessionNumber, dataset.StudyID = f"PH{seed}-{number:06d}", str(number)
    dataset.Modality, dataset.Manufacturer, dataset.PatientPosition = identity.modality, "Phantom Imaging", "HFS"
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.SeriesDescription = 1, instance, "Phantom"
    if identity.modality == "CT":
        dataset.GantryDetectorTilt, dataset.KVP = round(identity.tilt_deg, 6), 120
    else:
        dataset.ScanningSequence, dataset.SequenceVariant, dataset.MRAcquisitionType = "SE", "NONE", "2D"
    return dataset


def _put_plane(position: Dataset, orientation: Dataset, measures: Dataset, plane: npt.NDArray[np.float64]) -> None:
    """Write position, orientation and spacing (PS3.3 C.7.6.2.1.1) to where each belongs."""
    spacing = np.linalg.norm(plane[:3, :3], axis=0)
    right, down = _LPS * plane[:3, 2] / spacing[2], _LPS * plane[:3, 1] / spacing[1]
    normal = np.cross(right, down)
    position.ImagePositionPatient = [_decimal(value) for value in _LPS * plane[:3, 3]]
    orientation.ImageOrientationPatient = [_decimal(value) for value in (*right, *down)]
    measures.PixelSpacing = [_decimal(spacing[1]), _decimal(spacing[2])]
    measures.SliceThickness = _decimal(abs(float(normal @ (_LPS * plane[:3, 0]))))


def _decimal(value: float) -> str:
    text = f"{value:.{_DIGITS}f}"[:16].rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _frame_groups(identity: Identity, cut: Slice) -> Dataset:
    """The functional groups of one frame (PS3.3 C.7.6.16.2)."""
    from pydicom.dataset import Dataset

    groups, content, position, transform = Dataset(), Dataset(), Dataset(), Dataset()
    _put_plane(position, Dataset(), Dataset(), cut.plane)
    transform.RescaleIntercept, transform.RescaleSlope = _INTERCEPT[identity.modality], cut.slope
    transform.RescaleType = "HU" if identity.modality == "CT" else "US"
    content.StackID, content.InStackPositionNumber = "1", cut.index + 1
    for keyword, value in cut.told.items():
        _tell_frame(groups, content, keyword, value)
    groups.FrameContentSequence, groups.PlanePositionSequence = [content], [position]
    groups.PixelValueTransformationSequence = [transform]
    return groups


def _tell_frame(groups: Dataset, content: Dataset, keyword: str, value: float) -> None:
    from pydicom.dataset import Dataset

    item = Dataset()
    if keyword == "AcquisitionNumber":
        content.FrameAcquisitionNumber = int(value)
    elif keyword == "TemporalPositionIdentifier":
        content.TemporalPositionIndex = int(value)
    elif keyword == "EchoTime":
        item.EffectiveEchoTime = value
        groups.MREchoSequence = [item]
    elif keyword == "TriggerTime":
        item.NominalCardiacTriggerDelayTime = value
        groups.CardiacSynchronizationSequence = [item]
    elif keyword == "DiffusionBValue":
        item.DiffusionBValue = value
        groups.MRDiffusionSequence = [item]


def _put_pixels(dataset: Dataset, identity: Identity, slices: Sequence[Slice], *, enhanced: bool) -> None:
    intercept = _INTERCEPT[identity.modality]
    frames = np.stack([np.rint((cut.values - intercept) / cut.slope) for cut in slices])
    bits = 12 if not enhanced and frames.max() < 4096 else 16
    frames = np.clip(frames, 0, 2**bits - 1).astype(np.uint16)
    dataset.Rows, dataset.Columns = frames.shape[1:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits, bits - 1
    dataset.PixelData = pixel_data(frames, identity.syntax, bits)
    dataset["PixelData"].VR = "OW" if identity.syntax in NATIVE else "OB"
