"""Pixels of every WG04 file against dcmtk's decoders and SimpleITK's: lossless bit for bit, lossy within 1 of 255."""

import functools
import shutil
import subprocess

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.pixels import apply_modality_lut

from medmm import read_image

pytestmark = pytest.mark.shared
sitk.ProcessObject.SetGlobalWarningDisplay(False)
NAMES = [
    f"{image}_{syntax}"
    for image, syntaxes in {
        "CT1": "J2KI J2KR JLSL JLSN JPLL RLE",
        "CT2": "J2KI J2KR JLSL JLSN JPLL RLE",
        "MR1": "J2KI J2KR JLSL JLSN JPLL JPLY RLE",
        "MR4": "J2KI J2KR JLSL JLSN JPLL JPLY RLE",
        "RG1": "J2KI",
        "RG2": "J2KI J2KR JPLL JPLY",
        "RG3": "J2KI J2KR JLSL JLSN JPLL JPLY",
    }.items()
    for syntax in syntaxes.split()
]
LOSSLESS = ("J2KR", "JLSL", "JPLL", "RLE")
TOOL = {"JPLL": "dcmdjpeg", "JPLY": "dcmdjpeg", "JLSL": "dcmdjpls", "JLSN": "dcmdjpls", "RLE": "dcmdrle"}
OVERSHOOT = 1e-4
"""Share of pixels that dcmtk and GDCM wrap where lossy JPEG overshoots the stored bits; medmm clips them."""


@functools.cache
def stored(path):
    return read_image(path, window=None).array[0]


def plain(path, folder):
    """The file as dcmtk decompresses it."""
    tool = TOOL[path.name.split("_")[1]]
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} (Debian's dcmtk) is not installed")
    subprocess.run([tool, path, folder / path.name], check=True, capture_output=True)
    return folder / path.name


def test_all_files_are_in_the_list(shared):
    assert sorted(path.name for path in (shared / "dicom/wg04").iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("name", [name for name in NAMES if name[4:] in TOOL])
def test_equals_dcmtk(shared, tmp_path, name):
    path = shared / "dicom/wg04" / name
    dataset = pydicom.dcmread(plain(path, tmp_path))
    want = apply_modality_lut(dataset.pixel_array, dataset)
    off = np.abs(stored(path) - want)
    if name[4:] in LOSSLESS:
        np.testing.assert_array_equal(stored(path), want.astype(np.float32))
    elif name[4:] == "JPLY":
        assert np.quantile(off, 1 - OVERSHOOT) <= np.ptp(want) / 255
    else:
        assert off.max() <= np.ptp(want) / 255


@pytest.mark.parametrize("name", NAMES)
def test_equals_simpleitk(shared, name):
    path = shared / "dicom/wg04" / name
    want = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).squeeze().astype(np.float64)
    header = pydicom.dcmread(path, stop_before_pixels=True)
    if header.PhotometricInterpretation == "MONOCHROME1":  # ITK turns the stored values over
        want = (1 << header.BitsStored) - 1 - want
    if name[4:] in LOSSLESS:
        np.testing.assert_array_equal(stored(path), want.astype(np.float32))
    else:
        assert np.quantile(np.abs(stored(path) - want), 1 - OVERSHOOT) <= np.ptp(want) / 255


@pytest.mark.parametrize("image", ["CT1", "CT2", "MR1", "MR4", "RG2", "RG3"])
def test_lossless_siblings_are_one_image_and_lossy_ones_are_near(shared, image):
    folder = shared / "dicom/wg04"
    names = [name for name in NAMES if name.startswith(image)]
    exact = [stored(folder / name) for name in names if name[4:] in LOSSLESS]
    assert len(exact) > 1
    for other in exact[1:]:
        np.testing.assert_array_equal(exact[0], other)
    for name in names:
        if name[4:] not in LOSSLESS:
            assert np.abs(stored(folder / name) - exact[0]).mean() <= np.ptp(exact[0]) / 100


@pytest.mark.parametrize("name", [name for name in NAMES if name[4:] in LOSSLESS and name[4:] in TOOL])
def test_windowed_greys_equal_dcmtks(shared, tmp_path, name):
    """16 bits of dcmj2pnm with the header's first window or the range; MONOCHROME1 is inverted by both.

    dcmtk cuts values after the rescale to whole numbers, which MR4's slope makes none of.
    """
    path = shared / "dicom/wg04" / name
    image = read_image(path)
    window = image.header["window"]
    if window["function"] == "LINEAR":
        chosen = ["+Wi", "1"]
    else:  # the range that LINEAR runs over; dcmtk's own would count padding in
        width = window["high"] - window["low"] + 1
        chosen = ["+Ww", str(window["low"] + 0.5 + (width - 1) / 2), str(width)]
    out = tmp_path / "grey.pgm"
    subprocess.run(["dcmj2pnm", "+opw", *chosen, plain(path, tmp_path), out], check=True, capture_output=True)
    lines = [line for line in out.read_text().splitlines() if not line.startswith("#")]
    _, columns, rows, most, *values = " ".join(lines).split()
    want = np.array(values, np.float64).reshape(int(rows), int(columns)) / int(most)
    step = 1 / window["width"] if name.startswith("MR4") else 2 / 65535
    assert np.abs(image.array[0] - want).max() <= step
