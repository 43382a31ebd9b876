"""Colour, palettes and single bits: the luminance against hand-computed values and pydicom's."""

import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, convert_color_space
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from medmm import read_image
from medmm.errors import ImageError, Reason

RNG = np.random.default_rng(29)
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
LUMA = np.array([0.299, 0.587, 0.114])
COLOURS = ("Red", "Green", "Blue")


def stored(path):
    return read_image(path, window=None).array[0]


def palette(entries, first, bits, syntax, segmented=()):
    """Elements of three tables; ``segmented`` are the words of each colour's segments instead."""
    order = ">u2" if syntax == ExplicitVRBigEndian else "<u2"
    elements = {}
    for index, colour in enumerate(COLOURS):
        column = entries[:, index]
        if bits == 8 and not segmented:
            data = column.astype(np.uint8).tobytes()
            data = np.frombuffer(data, "<u2").astype(order).tobytes()
        else:
            data = np.asarray(segmented[index] if segmented else column).astype(order).tobytes()
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [len(entries), first, bits]
        elements["Segmented" * bool(segmented) + f"{colour}PaletteColorLookupTableData"] = data
    return elements


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("first", [0, 20])
def test_palettes(write_dicom, syntax, bits, first):
    entries = RNG.integers(0, 1 << bits, (128, 3))
    pixels = RNG.integers(0, 256, (12, 14), np.uint8)
    path = write_dicom(
        pixels, syntax=syntax, PhotometricInterpretation="PALETTE COLOR", **palette(entries, first, bits, syntax)
    )
    want = entries[np.clip(pixels.astype(int) - first, 0, 127)] @ LUMA
    np.testing.assert_allclose(stored(path), want, rtol=1e-6)
    np.testing.assert_allclose(read_image(path).array[0], want / ((1 << bits) - 1), atol=1e-6)
    if syntax != ExplicitVRBigEndian:  # whose words pydicom reads as little-endian ones
        dataset = pydicom.dcmread(path)
        np.testing.assert_allclose(apply_color_lut(dataset.pixel_array, dataset) @ LUMA, want)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_a_palette_in_segments(write_dicom, syntax):
    """Four entries of 10, then a line of sixteen to 250 (PS3.3 C.7.9.2)."""
    red = [0, 4, 10, 1, 16, 250]
    lines = np.concatenate([np.full(4, 10), np.floor(10 + 240 / 16 * np.arange(1, 17))]).astype(int)
    segments = (red, red, [0, 20, *range(20)])
    red[2:3] = [10] * 4  # which changes green too
    entries = np.stack([lines, lines, np.arange(20)], -1)
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    path = write_dicom(
        pixels, syntax=syntax, PhotometricInterpretation="PALETTE COLOR", **palette(entries, 0, 16, syntax, segments)
    )
    np.testing.assert_allclose(stored(path), entries[np.minimum(pixels, 19)] @ LUMA, atol=1)


def test_a_broken_palette_has_a_reason(write_dicom):
    elements = palette(np.zeros((8, 3), int), 0, 16, ExplicitVRLittleEndian)
    elements["BluePaletteColorLookupTableData"] = b"\0\0"
    with pytest.raises(ImageError) as caught:
        read_image(write_dicom(np.zeros((2, 2), np.uint8), PhotometricInterpretation="PALETTE COLOR", **elements))
    assert caught.value.reason is Reason.HEADER_INVALID


def test_a_supplemental_palette_does_not_touch_the_greys(write_dicom):
    pixels = np.array([[0, 50], [100, 200]], np.uint8)
    path = write_dicom(pixels, PixelPresentation="COLOR", **palette(np.zeros((16, 3), int), 240, 16, SYNTAXES[0]))
    np.testing.assert_array_equal(stored(path), pixels)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("syntax", [*SYNTAXES, RLELossless], ids=lambda uid: uid.name)
@pytest.mark.parametrize("name", ["RGB", "YBR_FULL"])
def test_planes_and_names_of_colours(write_dicom, planar, syntax, name):
    pixels = RNG.integers(40, 200, (7, 9, 3), np.uint8)
    rgb = pixels if name == "RGB" else convert_color_space(pixels, "YBR_FULL", "RGB")
    data = pixels.transpose(2, 0, 1).tobytes() if planar else pixels.tobytes()
    start = ExplicitVRLittleEndian if syntax == RLELossless else syntax
    path = write_dicom(pixels, syntax=start, PhotometricInterpretation=name, PlanarConfiguration=planar,
                       PixelData=data + b"\0")  # fmt: skip
    if syntax == RLELossless:
        if shutil.which("dcmcrle") is None:
            pytest.skip("dcmcrle (Debian's dcmtk) is not installed")
        subprocess.run(["dcmcrle", path, path], check=True)  # pydicom's encoder mixes up planes that lie apart
    clipped = (rgb == 0) | (rgb == 255)
    off = np.abs(stored(path) - rgb @ LUMA)[~clipped.any(-1)]
    assert off.max() <= (1e-4 if name == "RGB" else 1.1)


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("name", ["YBR_FULL_422", "YBR_PARTIAL_422"])
def test_two_pixels_that_share_their_colour(write_dicom, name, frames):
    """Y Y Cb Cr; partial luminance runs from 16 to 235 (PS3.3 C.7.6.3.1.2)."""
    luminance = RNG.integers(16, 236, (frames, 6, 8))
    luminance[0, 0, :2] = 16, 235
    data = np.stack([luminance[..., ::2], luminance[..., 1::2], *[np.full((frames, 6, 4), 128)] * 2], -1)
    path = write_dicom(np.zeros((6, 8, 3), np.uint8), PhotometricInterpretation=name, NumberOfFrames=frames,
                       PixelData=data.astype(np.uint8).tobytes())  # fmt: skip
    want = luminance if name == "YBR_FULL_422" else (luminance - 16) * 255 / 219
    np.testing.assert_allclose(stored(path), want if frames > 1 else want[0], atol=1e-4)


@pytest.mark.parametrize("name", ["HSV", "ARGB", "CMYK"])
def test_colours_that_no_luminance_is_taken_from(write_dicom, name):
    with pytest.raises(ImageError) as caught:
        read_image(write_dicom(np.zeros((4, 4, 3), np.uint8), PhotometricInterpretation=name))
    assert caught.value.reason is Reason.SYNTAX_UNSUPPORTED


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
@pytest.mark.parametrize("vr", ["OB", "OW"])
@pytest.mark.parametrize("shape", [(5, 7), (3, 5, 7), (2, 16, 24), (4, 1, 5)])
def test_single_bits(write_dicom, syntax, vr, shape):
    bits = RNG.integers(0, 2, shape, np.uint8)
    data = np.packbits(bits.ravel(), bitorder="little").tobytes()
    data += b"\0" * (len(data) % 2)
    if syntax == ExplicitVRBigEndian and vr == "OW":
        data = np.frombuffer(data, "<u2").astype(">u2").tobytes()
    element = Dataset()
    element.add_new(0x7FE00010, vr, data)
    path = write_dicom(bits, syntax=syntax, BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=data)
    dataset = pydicom.dcmread(path)
    dataset.add_new(0x7FE00010, vr, data)
    dataset.save_as(path)
    np.testing.assert_array_equal(stored(path), bits)
    np.testing.assert_array_equal(read_image(path).array[0], bits)
