"""Every file of ``dicom/odd`` gives the right pixels or a reason, as the table in ``docs/odd_files.md`` has it."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.pixels import apply_color_lut, apply_modality_lut

from medmm import read_image
from medmm.errors import ImageError

sitk.ProcessObject.SetGlobalWarningDisplay(False)
TABLE = Path(__file__).resolve().parents[2] / "docs" / "odd_files.md"
LUMA = np.array([0.299, 0.587, 0.114])
SAME_IMAGE = {
    "SC_rgb_jpeg_lossy_gdcm.dcm": "SC_rgb.dcm",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "emri_small.dcm",
    "liver_deflate.dcm": "liver.dcm",
    "liver_rle.dcm": "liver.dcm",
    "liver_nonbyte_aligned_deflate.dcm": "liver_nonbyte_aligned.dcm",
    "liver_nonbyte_aligned_rle.dcm": "liver_nonbyte_aligned.dcm",
}
"""Files of the set that hold the same image in another way, which the oracles read."""
WRONG = {
    "SC_rgb_jpeg_lossy_gdcm.dcm": ("pydicom", "SimpleITK", "dcmtk"),  # believe the header's RGB: red is 76 85 255
    "SC_rgb_rle_16bit.dcm": ("SimpleITK",),  # mixes up the bytes: red is 0 65280 255
    "SC_rgb_rle_16bit_2frame.dcm": ("SimpleITK",),
    "SC_rgb_rle_32bit.dcm": ("SimpleITK",),
    "SC_rgb_rle_32bit_2frame.dcm": ("SimpleITK",),
    "liver.dcm": ("SimpleITK",),  # single bits become 0 and 255
    "liver_1frame.dcm": ("SimpleITK",),
    "liver_expb.dcm": ("SimpleITK",),
    "liver_expb_1frame.dcm": ("SimpleITK",),
    "liver_nonbyte_aligned.dcm": ("SimpleITK",),
    "rtdose_expb.dcm": ("SimpleITK",),  # takes big-endian words of 32 bits for little-endian ones
}
"""Oracles that see other pixels, and err."""
COLOUR_STEPS = 2.0
"""Of 255 that luminance may differ by where an oracle rounds and clips on its way from YBR to RGB."""
SUBSAMPLED_STEPS = 8.0
"""Of 255 that a JPEG with colours of half the size may differ by from the image it was made of, at edges."""


def rows_of_table():
    """File to ``(image, outcome, equal to)``; the remarks are for people."""
    lines = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0].strip("`"): tuple(row[1:4]) for row in cells}


def luminance(values):
    return values @ LUMA if values.shape[-1] == 3 else values


def by_pydicom(path, folder):
    dataset = pydicom.dcmread(path, force=True)
    values = dataset.pixel_array
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        return luminance(apply_color_lut(values, dataset))
    return luminance(values) if values.shape[-1] == 3 else apply_modality_lut(values, dataset)


def by_simpleitk(path, folder):
    header = pydicom.dcmread(path, stop_before_pixels=True)
    if header.get("PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2", "RGB"):
        raise ValueError("palettes and YBR come back in forms that differ from version to version")
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    if header.PhotometricInterpretation == "MONOCHROME1":  # ITK turns the stored values over
        values = (1 << header.BitsStored) - 1 - values
    return luminance(values)


def by_dcmtk(path, folder):
    syntax = pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
    tools = {"4.5": "dcmdjpeg", "4.7": "dcmdjpeg", "4.8": "dcmdjpls", "5": "dcmdrle"}
    tool = tools[syntax[len("1.2.840.10008.1.2.") :][:3]]
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} (Debian's dcmtk) is not installed")
    subprocess.run([tool, path, folder / "plain.dcm"], check=True, capture_output=True)
    return by_pydicom(folder / "plain.dcm", folder)


def by_another_file(path, folder):
    return by_pydicom(path.with_name(SAME_IMAGE[path.name]), folder)


ORACLES = {"pydicom": by_pydicom, "SimpleITK": by_simpleitk, "dcmtk": by_dcmtk, "the same image": by_another_file}


def agreeing(path, got, is_colour, folder):
    """Names of the oracles that read the file and see what medmm sees; the first that sees something else fails."""
    names = []
    for name, oracle in ORACLES.items():
        try:
            want = np.asarray(oracle(path, folder), np.float64).squeeze()
        except Exception:  # noqa: S112 - what an oracle does not read it does not judge
            continue
        steps = SUBSAMPLED_STEPS if oracle is by_another_file else COLOUR_STEPS if is_colour else is_lossy(path)
        tolerance = max(steps * np.ptp(want) / 255 if is_colour or is_lossy(path) else 0, 2e-7 * np.abs(want).max())
        same = want.shape == got.squeeze().shape and np.abs(got.squeeze() - want).max() <= tolerance
        if name in WRONG.get(path.name, ()):
            assert not same, f"{name} reads {path.name} now: take it out of WRONG"
        else:
            assert same, f"{name} sees other pixels in {path.name}"
            names.append(name)
    return names


def is_lossy(path):
    """Whether the transfer syntax may lose something."""
    return pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID[-2:] in ("50", "51", "81", "91")


def row_of(path, folder):
    """The file's row of the table."""
    try:
        image = read_image(path, window=None)
    except ImageError as error:
        with pytest.raises(ImageError, match=re.escape(str(error))):
            read_image(path)
        return "", f"`{error.reason}`", ""
    shown = read_image(path).array
    assert 0 <= shown.min() <= shown.max() <= 1
    about = image.header
    shape = " × ".join(map(str, image.array.shape[1:]))
    told = f"{shape}, {about['photometric']}, {about['bits_stored']} bits, {about['syntax']}"
    is_colour = not about["photometric"].startswith("MONOCHROME")
    return told, "read", ", ".join(agreeing(path, image.array[0].astype(np.float64), is_colour, folder))


@pytest.mark.shared
def test_every_odd_file_is_as_the_table_says(shared, tmp_path):
    expected = rows_of_table()
    found = {path.name: row_of(path, tmp_path) for path in sorted((shared / "dicom/odd").iterdir())}
    assert found == expected
    assert all(outcome != "read" or judges for _, outcome, judges in found.values())
