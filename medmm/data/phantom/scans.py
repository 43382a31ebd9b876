"""CT scans of phantom studies as files: NIfTI with a label map, or a DICOM series; masks of the findings as NIfTI."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.data.phantom import files
from medmm.data.phantom.ct import PhantomVolume
from medmm.data.phantom.options import Options

IMAGE, LABELS, SERIES = "image.nii.gz", "label.nii.gz", "image"
ORDER = np.eye(4)[:, [2, 1, 0, 3]]
"""From the axes of a NIfTI file (right, front, head) to those of an array (head, front, right)."""
_PACKING = 3  # gzip: noise does not get smaller with more effort


def write_scan(place: Path, seed: int, volume: PhantomVolume, options: Options) -> str:
    """Write the scan, its label map and masks of its findings.

    Args:
        place: Folder of the set; the study's is ``place/<number>``, its masks' ``place/masks/<number>``.
        seed: The set's.
        volume: The scan.
        options: Whether NIfTI or DICOM; label map and masks are NIfTI on the same grid in any case.

    Returns:
        Name of the image, a file or the folder of a series, within the study's folder.
    """
    number = volume.place.study
    folder = place / f"{number:06d}"
    write_nifti(folder / LABELS, volume.labels, volume.affine)
    for name, mask in volume.masks.items():
        if mask.any():
            file = place / mask_file(number, name)
            file.parent.mkdir(exist_ok=True)
            write_nifti(file, mask.astype(np.uint8), volume.affine)
    if options.volume_format == "nifti":
        write_nifti(folder / IMAGE, volume.hu, volume.affine)
        return IMAGE
    from medmm.data.phantom.companions import beside_series
    from medmm.data.phantom.series import SeriesForm, write_series

    how = SeriesForm(syntax=options.syntax(number) or SeriesForm().syntax)
    elements = _elements(seed, volume)
    series = write_series(folder / SERIES, volume.hu, volume.affine, how, seed=seed, number=number, elements=elements)
    beside_series(folder, seed, volume, series, options.objects)
    return SERIES


def mask_file(number: int, name: str) -> str:
    """Where the mask of a finding lies, from the set's folder."""
    return f"masks/{number:06d}/{name}.nii.gz"


def write_nifti(path: Path, array: npt.NDArray[np.generic], affine: npt.NDArray[np.float64]) -> None:
    """Write a volume ``[D, H, W]`` as gzipped NIfTI-1, the same bytes at any time.

    Args:
        path: The file.
        array: ``[D, H, W]``, int16 or uint8.
        affine: 4x4, (d, h, w, 1) to RAS millimetres.
    """
    import nibabel as nib

    image = nib.Nifti1Image(np.ascontiguousarray(array.transpose(2, 1, 0)), affine @ ORDER)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine @ ORDER, code=1)
    image.set_qform(affine @ ORDER, code=1)
    path.write_bytes(gzip.compress(image.to_bytes(), _PACKING, mtime=0))


def _elements(seed: int, volume: PhantomVolume) -> dict[str, Any]:
    """Identity of the study, the same as its radiograph has."""
    number = volume.place.study
    return {
        "StudyInstanceUID": files.uid(seed, number, "study"),
        "PatientID": files.patient_id(seed, volume.place.patient),
        "PatientName": f"Phantom^{volume.place.patient:06d}",
        "PatientSex": volume.who.sex,
        "PatientAge": f"{volume.age:03d}Y",
        "AccessionNumber": f"PH{seed}-{number:06d}",
        "StudyID": str(number),
        "StudyDate": files.study_date(volume.place.days),
        "BodyPartExamined": "CHEST",
        "PatientPosition": "HFS",
    }
