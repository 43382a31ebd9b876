"""Outlines as DICOM Segmentation objects (PS3.3 A.51) on the very slices that they were drawn on, by highdicom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medmm import __version__
from medmm.data.outline_code import OutlineCode
from medmm.errors import ImageError, Reason
from medmm.io.atomic import replacing
from medmm.io.geometry import Plane, planes_of
from medmm.io.resample import onto
from medmm.models.weights import file_sha256
from medmm.types import Image

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAKER, PRODUCT = "medmm", "medmm"
_SERIES_NUMBER = 900
_ANATOMY, _ALTERED = ("123037004", "Anatomical Structure"), ("49755003", "Morphologically Altered Structure")
_TISSUE, _LESION = ("85756007", "Tissue"), ("52988006", "Lesion")
_TYPE_2 = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
_TYPES = {  # SNOMED CT codes of PS3.16 CID 7191 and the anatomy that it includes
    "lung": ("39607008", "Lung"), "lung_left": ("44029006", "Left lung"), "lung_right": ("3341006", "Right lung"),
    "heart": ("80891009", "Heart"), "aorta": ("15825003", "Aorta"), "liver": ("10200004", "Liver"),
    "spleen": ("78961009", "Spleen"), "pancreas": ("15776009", "Pancreas"), "stomach": ("69695003", "Stomach"),
    "kidney": ("64033007", "Kidney"), "kidney_left": ("18639004", "Left kidney"),
    "kidney_right": ("9846003", "Right kidney"), "ribs": ("113197003", "Rib"), "clavicles": ("51299004", "Clavicle"),
    "scapulae": ("79601000", "Scapula"), "sternum": ("56873002", "Sternum"), "body": ("38266002", "Body"),
}  # fmt: skip


def write_segmentation(
    path: Path,
    coded: npt.NDArray[Any],
    code: OutlineCode,
    affine: npt.NDArray[np.float64] | None,
    files: Sequence[Path],
    *,
    lesions: Sequence[str] = (),
    mark: str = "",
) -> None:
    """Write a binary segmentation of the images that were outlined; frames without any outline are left out.

    Args:
        path: The file.
        coded: Coded masks ``[D, H, W]``, or ``[H, W]`` of a projection.
        code: What they mean; a segment a class, in that order.
        affine: (d, h, w, 1) of the masks to RAS millimetres; None for a projection.
        files: The DICOM files of the image. Slices that do not lie on the masks' grid are left out.
        lesions: Classes that are lesions.
        mark: What drew them, such as the hash of the weights; the same mark and files give the same UIDs.

    Raises:
        ImageError: None of the files lies on the masks' grid; or they cannot be segmented.
        ResourceError: The disk is full.
    """
    sources = list(_opened(files))
    _share_study(sources)
    chosen, pixels = _on_slices(sources, coded, affine)
    try:
        found = _made(chosen, pixels, code, lesions, mark)
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        what = f"these images cannot be segmented ({type(error).__name__})"
        raise ImageError(Reason.HEADER_INVALID, what, where="DICOM segmentation") from error
    with replacing(path, 0o600) as temporary:
        found.save_as(temporary)


def _made(
    chosen: Sequence[Dataset], pixels: npt.NDArray[Any], code: OutlineCode, lesions: Sequence[str], mark: str
) -> Any:
    """The object, from images and their pixels of the masks."""
    import highdicom as hd
    from pydicom.uid import ExplicitVRLittleEndian

    entropy = [mark, *sorted(str(one.SOPInstanceUID) for one in chosen)]
    return hd.seg.Segmentation(
        source_images=chosen,
        pixel_array=_segments(pixels, code),
        segmentation_type="BINARY",
        segment_descriptions=[
            _description(number, name, name in lesions, mark) for number, name in enumerate(code.classes, 1)
        ],
        series_instance_uid=_uid("series", entropy),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=_uid("instance", entropy),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=PRODUCT,
        software_versions=__version__,
        device_serial_number=mark[:16] or "0",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        series_description="Outlines drawn by a model, not reviewed",
        content_label="OUTLINES",
    )


def _opened(files: Sequence[Path]) -> Iterator[Dataset]:
    """Headers of those files that are DICOM, each whole enough for a segmentation to refer to."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    for file in files:
        try:
            yield _completed(pydicom.dcmread(file, stop_before_pixels=True), file)
        except InvalidDicomError:
            continue


def _completed(dataset: Dataset, file: Path) -> Dataset:
    """Fill in, from the file's meta information, what a segmentation copies from its images and anonymisers empty."""
    meta = dataset.file_meta
    for name in ("SOPClassUID", "SOPInstanceUID"):
        if not dataset.get(name):
            setattr(dataset, name, meta.get(f"MediaStorage{name}") or _uid(name, [file_sha256(file)]))
    for name in _TYPE_2:
        if name not in dataset:
            setattr(dataset, name, None)
    return dataset


def _share_study(sources: Sequence[Dataset]) -> None:
    """Give images without study or series UIDs of their own, which a segmentation must name."""
    entropy = sorted(str(one.SOPInstanceUID) for one in sources)
    for name in ("StudyInstanceUID", "SeriesInstanceUID"):
        made = _uid(name, entropy)
        for one in sources:
            if not one.get(name):
                setattr(one, name, made)


def _on_slices(
    sources: Sequence[Dataset], coded: npt.NDArray[Any], affine: npt.NDArray[np.float64] | None
) -> tuple[list[Dataset], npt.NDArray[Any]]:
    """The images that lie on the masks' grid, and their pixels of the masks, ``[frames, H, W]``."""
    if affine is None or coded.ndim == 2:
        return list(sources[:1]), coded.reshape(1, *coded.shape[-2:])
    mask = Image(coded[None], affine, tuple(float(step) for step in np.linalg.norm(affine[:3, :3], axis=0)))
    kept: list[Dataset] = []
    frames: list[npt.NDArray[Any]] = []
    places: set[tuple[float, ...]] = set()
    for source in sources:
        planes = planes_of(source, int(source.get("NumberOfFrames") or 1)) or []
        spots = {tuple(np.round(plane.position, 2)) for plane in planes}
        if not planes or spots & places or not all(_inside(plane, source, mask) for plane in planes):
            continue
        places |= spots
        kept.append(source)
        frames += list(_cut(planes, source, mask))
    if not kept:
        raise ImageError(Reason.DIMENSIONS_MISMATCH, "no slice lies on the outlines' grid", where="DICOM segmentation")
    return kept, np.stack(frames)


def _inside(plane: Plane, source: Dataset, mask: Image) -> bool:
    """Whether the middle of a slice lies in the masks' grid."""
    assert mask.affine is not None
    middle = plane.affine(plane.normal) @ [0, (int(source.Rows) - 1) / 2, (int(source.Columns) - 1) / 2, 1]
    place = (np.linalg.inv(mask.affine) @ middle)[:3]
    return bool((place > -0.75).all() and (place < np.array(mask.array.shape[1:]) - 0.25).all())


def _cut(planes: Sequence[Plane], source: Dataset, mask: Image) -> Iterator[npt.NDArray[Any]]:
    """The masks on each plane, by the voxel that a pixel's centre lies in."""
    empty = np.zeros((1, 1, int(source.Rows), int(source.Columns)), np.float32)
    for plane in planes:
        yield onto(mask, Image(empty, plane.affine(plane.normal))).array[0, 0]


def _segments(pixels: npt.NDArray[Any], code: OutlineCode) -> npt.NDArray[Any]:
    """Numbers of segments ``[F, H, W]``, or where they overlap a plane for each, ``[F, H, W, C]``."""
    if code.exclusive:
        return pixels.astype(np.uint8)
    return np.stack([code.mask(pixels, number) for number in range(len(code.classes))], axis=-1)


def _description(number: int, name: str, is_lesion: bool, mark: str) -> Any:
    import highdicom as hd
    from highdicom.sr.coding import CodedConcept

    kind = _ALTERED if is_lesion else _ANATOMY
    what = _TYPES.get(name, _LESION if is_lesion else _TISSUE)
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=CodedConcept(kind[0], "SCT", kind[1]),
        segmented_property_type=CodedConcept(what[0], "SCT", what[1]),
        algorithm_type="AUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=PRODUCT,
            version=mark[:16] or __version__,
            family=CodedConcept("123109", "DCM", "Artificial Intelligence"),
        ),
    )


def _uid(kind: str, entropy: Sequence[str]) -> str:
    from pydicom.uid import generate_uid

    return str(generate_uid(prefix="2.25.", entropy_srcs=[kind, *entropy]))
