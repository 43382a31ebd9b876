"""Masks of phantom studies as DICOM objects: segmentations (highdicom) and structure sets, the same in every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medmm.data.phantom.files import EXPLICIT, uid

if TYPE_CHECKING:
    from pydicom import Dataset

MAKER, MODEL, VERSION = "Phantom Imaging", "medmm phantom", "1"
STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"  # RT Structure Set Storage, PS3.6 table A-1
TIME = "120000"
_ABNORMAL = ("49755003", "SCT", "Morphologically Abnormal Structure")
_ANATOMY = ("123037004", "SCT", "Anatomical Structure")
_TYPES = {
    "atelectasis": ("46621007", "SCT", "Atelectasis"),
    "consolidation": ("9656002", "SCT", "Consolidation"),
    "edema": ("19242006", "SCT", "Pulmonary edema"),
    "emphysema": ("87433001", "SCT", "Pulmonary emphysema"),
    "mass": ("4147007", "SCT", "Mass"),
    "nodule": ("27925004", "SCT", "Nodule"),
    "pleural_effusion": ("60046008", "SCT", "Pleural effusion"),
    "pneumothorax": ("36118008", "SCT", "Pneumothorax"),
    "heart": ("80891009", "SCT", "Heart"),
    "lung_left": ("44029006", "SCT", "Left lung"),
    "lung_right": ("3341006", "SCT", "Right lung"),
}
_ORGANS = frozenset({"heart", "lung_left", "lung_right"})
_PATIENT = ("PatientID", "PatientName", "PatientSex", "PatientAge", "PatientBirthDate")
_STUDY = ("StudyInstanceUID", "StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName")
_HALF = 0.5


def write_segmentation(
    path: Path,
    sources: Sequence[Dataset],
    masks: Mapping[str, npt.NDArray[Any]],
    seed: int,
    number: int,
    kind: str = "BINARY",
    syntax: str = EXPLICIT,
    omit_empty: bool = True,
) -> None:
    """Write masks as a Segmentation, or as a Label Map Segmentation.

    Args:
        path: The file.
        sources: The images that they lie on: the slices of a volume, or one radiograph.
        masks: Name to ``[D, H, W]``, a plane a source in their order: bool, or in [0, 1] for ``FRACTIONAL``. The masks
            of a label map must not overlap.
        seed: The phantom's.
        number: The study's, from which the UIDs follow.
        kind: ``BINARY``, ``FRACTIONAL`` or ``LABELMAP``.
        syntax: Transfer Syntax UID; the compressed ones only for whole bytes (``FRACTIONAL`` and ``LABELMAP``).
        omit_empty: Leave out planes without any mask.
    """
    import highdicom as hd

    names, what = list(masks), f"{kind} of {len(masks)} masks"
    pixels = np.stack([np.asarray(masks[name]) for name in names], -1)
    pixels = pixels.astype(np.float32 if kind == "FRACTIONAL" else np.uint8)
    if kind == "LABELMAP":
        labels = (pixels * np.arange(1, len(names) + 1, dtype=np.uint16)).max(-1)
        pixels = labels.astype(np.uint8 if len(names) < 256 else np.uint16)
    dataset = hd.seg.Segmentation(
        source_images=list(sources),
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=[_described(place + 1, name) for place, name in enumerate(names)],
        series_instance_uid=uid(seed, number, f"segmentation series {what}"),
        series_number=100,
        sop_instance_uid=uid(seed, number, f"segmentation {what}"),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=MODEL,
        software_versions=VERSION,
        device_serial_number=str(seed),
        transfer_syntax_uid=syntax,
        omit_empty_frames=omit_empty,
        content_label="PHANTOM",
    )
    _make_repeatable(dataset, uid(seed, number, f"segmentation dimensions {what}"))
    dataset.save_as(path, enforce_file_format=True)


def _described(number: int, name: str) -> Any:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    algorithm = hd.AlgorithmIdentificationSequence(name=MODEL, family=codes.DCM.ArtificialIntelligence, version=VERSION)
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=hd.sr.CodedConcept(*(_ANATOMY if name in _ORGANS else _ABNORMAL)),
        segmented_property_type=hd.sr.CodedConcept(*_TYPES.get(name, (name.upper()[:16], "99MEDMM", name))),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
    )


def _make_repeatable(dataset: Dataset, dimensions: str) -> None:
    """Replace what depends on the clock or on chance."""
    day = str(dataset.get("StudyDate") or "20000101")
    for element in dataset:
        if element.keyword in ("InstanceCreationDate", "SeriesDate", "ContentDate", "StructureSetDate"):
            element.value = day
        elif element.keyword in ("InstanceCreationTime", "SeriesTime", "ContentTime", "StructureSetTime"):
            element.value = TIME
    for name in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in dataset.get(name, ()):
            item.DimensionOrganizationUID = dimensions
    for item in dataset.get("ContributingEquipmentSequence", ()):
        item.ContributionDateTime = day + TIME


def write_structure_set(
    path: Path, sources: Sequence[Dataset], masks: Mapping[str, npt.NDArray[Any]], seed: int, number: int
) -> None:
    """Write the outlines of masks as an RT Structure Set.

    Outlines run half-way between the centres of pixels inside and outside (marching squares at one half); holes are
    contours of their own.

    Args:
        path: The file.
        sources: The slices of a volume.
        masks: Name to ``[D, H, W]`` bool, a plane a source in their order.
        seed: The phantom's.
        number: The study's, from which the UIDs follow.
    """
    from pydicom.sequence import Sequence as Items

    dataset = started(sources[0], STRUCTURE_SET, "RTSTRUCT", uid(seed, number, f"structures of {len(masks)} masks"))
    dataset.SeriesInstanceUID = uid(seed, number, f"structure series of {len(masks)} masks")
    dataset.SeriesNumber, dataset.OperatorsName, dataset.ApprovalStatus = 101, "", "UNAPPROVED"
    dataset.StructureSetLabel, dataset.StructureSetDate, dataset.StructureSetTime = "PHANTOM", dataset.StudyDate, TIME
    frame = sources[0].FrameOfReferenceUID
    dataset.ReferencedFrameOfReferenceSequence = Items([_referenced_frame(sources)])
    dataset.StructureSetROISequence = Items(
        item_of(ROINumber=place, ReferencedFrameOfReferenceUID=frame, ROIName=name, ROIGenerationAlgorithm="AUTOMATIC")
        for place, name in enumerate(masks, 1)
    )
    dataset.ROIContourSequence = Items(
        item_of(ReferencedROINumber=place, ContourSequence=Items(_contours(sources, mask)))
        for place, mask in enumerate(masks.values(), 1)
    )
    dataset.RTROIObservationsSequence = Items(
        item_of(ObservationNumber=place, ReferencedROINumber=place, RTROIInterpretedType="", ROIInterpreter="")
        for place, _ in enumerate(masks, 1)
    )
    dataset.save_as(path, enforce_file_format=True)


def started(source: Dataset, sop_class: str, modality: str, sop_uid: str) -> Dataset:
    """An object of the same patient and study as ``source``, in Explicit VR Little Endian, without a series."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(EXPLICIT)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = sop_class, sop_uid, modality
    for keyword in (*_PATIENT, *_STUDY):
        setattr(dataset, keyword, source.get(keyword, ""))
    dataset.Manufacturer, dataset.ManufacturerModelName, dataset.SoftwareVersions = MAKER, MODEL, VERSION
    dataset.InstanceNumber = 1
    return dataset


def item_of(**values: Any) -> Dataset:
    """A dataset of these elements, keyword to value."""
    from pydicom.dataset import Dataset

    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def reference(source: Dataset) -> Dataset:
    """An item that refers to an object."""
    return item_of(ReferencedSOPClassUID=source.SOPClassUID, ReferencedSOPInstanceUID=source.SOPInstanceUID)


def _referenced_frame(sources: Sequence[Dataset]) -> Dataset:
    series = item_of(SeriesInstanceUID=sources[0].SeriesInstanceUID, ContourImageSequence=[*map(reference, sources)])
    study = item_of(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",  # Detached Study Management, as the module asks for
        ReferencedSOPInstanceUID=sources[0].StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    return item_of(FrameOfReferenceUID=sources[0].FrameOfReferenceUID, RTReferencedStudySequence=[study])


def _contours(sources: Sequence[Dataset], mask: npt.NDArray[Any]) -> list[Dataset]:
    items = []
    for source, plane in zip(sources, mask, strict=True):
        for outline in outlines(plane):
            points = _in_patient(source, outline)
            items.append(
                item_of(
                    ContourImageSequence=[reference(source)],
                    ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=len(points),
                    ContourData=[f"{value:.6f}" for value in points.ravel()],
                )
            )
    return items


def outlines(plane: npt.NDArray[Any]) -> list[npt.NDArray[np.float64]]:
    """Closed outlines of a mask ``[H, W]``: each ``[N, 2]``, row and column; those of holes too."""
    from contourpy import contour_generator

    padded = np.pad(np.asarray(plane, np.float64), 1)
    found = contour_generator(z=padded).lines(_HALF)
    return [np.asarray(line, np.float64)[:-1, ::-1] - 1 for line in found]


def _in_patient(source: Dataset, outline: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rows and columns of a slice to LPS mm (PS3.3 equation C.7.6.2.1-1)."""
    directions = np.array(source.ImageOrientationPatient, np.float64).reshape(2, 3)
    rows, columns = outline.T * np.array(source.PixelSpacing, np.float64)[:, None]
    position = np.array(source.ImagePositionPatient, np.float64)
    return np.asarray(position + columns[:, None] * directions[0] + rows[:, None] * directions[1])
