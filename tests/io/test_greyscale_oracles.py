"""The greyscale pipeline against pydicom's and dcmtk's over a grid of headers."""

import itertools
import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medmm import read_image

RNG = np.random.default_rng(17)
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
STORED = {
    "u8": (np.uint8, 8),
    "u12": (np.uint16, 12),
    "u16": (np.uint16, 16),
    "i12": (np.int16, 12),
    "i16": (np.int16, 16),
}
RESCALES = [None, (1, -1024), (0.25, 3.5), (12.5, -70)]
WINDOWS = [(40, 400, None), (100.5, 1, "LINEAR"), (300, 777.5, "LINEAR_EXACT"), (-20, 350, "SIGMOID")]


def samples(dtype, bits):
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if dtype(0).dtype.kind == "i" else (0, (1 << bits) - 1)
    pixels = RNG.integers(low, high, (24, 26), np.int64, endpoint=True)
    pixels.flat[:200] = np.clip(np.arange(-60, 140), low, high)
    pixels.flat[200:202] = low, high
    return pixels.astype(dtype)


def rescale(pair):
    return {} if pair is None else {"RescaleSlope": pair[0], "RescaleIntercept": pair[1], "RescaleType": "US"}


def lut(descriptor, entries, vr="US", data_vr="US"):
    item = Dataset()
    item.add_new(0x00283002, vr, list(descriptor))
    if data_vr == "US":
        item.add_new(0x00283006, "US", list(entries))
    else:
        item.add_new(0x00283006, "OW", entries)
    return item


def unit(values, dataset, bits, signed):
    """pydicom's windows end at what the stored bits give after the rescale: bring that to [0, 1]."""
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    low, high = low * slope + intercept, high * slope + intercept
    return (values - low) / (high - low)


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_windows_equal_pydicoms(write_dicom, stored, syntax):
    dtype, bits = STORED[stored]
    pixels = samples(dtype, bits)
    for pair, (center, width, function) in itertools.product(RESCALES, WINDOWS):
        voi = {"WindowCenter": center, "WindowWidth": width} | ({"VOILUTFunction": function} if function else {})
        path = write_dicom(pixels, syntax=syntax, BitsStored=bits, HighBit=bits - 1, **rescale(pair), **voi)
        dataset = pydicom.dcmread(path)
        values = apply_modality_lut(dataset.pixel_array, dataset)
        np.testing.assert_allclose(read_image(path, window=None).array[0], values, rtol=1e-6, atol=1e-4)
        want = unit(apply_voi_lut(values, dataset), dataset, bits, stored[0] == "i")
        np.testing.assert_allclose(read_image(path).array[0], want, atol=1e-5, err_msg=f"{pair} {center} {function}")


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
@pytest.mark.parametrize(("first", "vr"), [(0, "US"), (30, "US"), (-40, "SS")])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_voi_luts_equal_pydicoms(write_dicom, stored, syntax, first, vr, bits):
    dtype, bits_stored = STORED[stored]
    pair = (1, -50) if stored[0] == "u" and first < 0 else None
    entries = RNG.integers(0, 1 << bits, 111)
    path = write_dicom(
        samples(dtype, bits_stored), syntax=syntax, BitsStored=bits_stored, HighBit=bits_stored - 1, **rescale(pair),
        VOILUTSequence=Sequence([lut((111, first, bits), entries.tolist(), vr)]),
    )  # fmt: skip
    dataset = pydicom.dcmread(path)
    values = apply_modality_lut(dataset.pixel_array, dataset).astype(np.int32)
    want = entries[np.clip(values - first, 0, 110)] / ((1 << bits) - 1)
    # pydicom 3.0 wraps inputs beyond 8 bits where the entries have 8, and reads the first value in implicit VR by the
    # sign of the pixels, not by that of the values after the rescale
    if bits > 8 and (first >= 0 or syntax != ImplicitVRLittleEndian or stored[0] == "i"):
        np.testing.assert_array_equal(want, apply_voi_lut(values, dataset) / ((1 << bits) - 1))
    np.testing.assert_allclose(read_image(path).array[0], want, atol=1e-6)


@pytest.mark.parametrize("kind", ["ModalityLUTSequence", "VOILUTSequence"])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_a_lut_of_65536_entries_says_0(write_dicom, syntax, kind):
    entries = RNG.permutation(65536).astype(np.uint16)
    pixels = samples(np.uint16, 16)
    order = ">u2" if syntax == ExplicitVRBigEndian else "<u2"
    item = lut((0, 0, 16), entries.astype(order).tobytes(), data_vr="OW")
    item.add_new(0x00283004, "LO", "US")
    path = write_dicom(pixels, syntax=syntax, **{kind: [item]})
    if kind == "ModalityLUTSequence":
        np.testing.assert_array_equal(read_image(path, window=None).array[0], entries[pixels])
    else:
        np.testing.assert_allclose(read_image(path).array[0], entries[pixels] / 65535, atol=1e-6)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
@pytest.mark.parametrize("packed", [True, False], ids=["two a word", "one a word"])
def test_entries_of_8_bits(write_dicom, syntax, packed):
    """A word holds one entry, or two where an old writer took OW for bytes; pydicom reads the first way only."""
    entries = RNG.integers(0, 256, 64)
    data = entries.astype(np.uint8).tobytes()
    big = syntax == ExplicitVRBigEndian
    if packed and big:
        data = np.frombuffer(data, "<u2").astype(">u2").tobytes()
    elif not packed:
        data = entries.astype(">u2" if big else "<u2").tobytes()
    pixels = samples(np.uint8, 8)
    path = write_dicom(pixels, syntax=syntax, VOILUTSequence=[lut((64, 100, 8), data, data_vr="OW")])
    want = entries[np.clip(pixels.astype(int) - 100, 0, 63)] / 255
    np.testing.assert_allclose(read_image(path).array[0], want, atol=1e-6)


def test_a_modality_lut_goes_before_window_and_rescale(write_dicom):
    """Its values are never negative, so that the VOI LUT behind it counts from 40000 and not from -25536."""
    pixels = np.array([[-3, -2], [-1, 7]], np.int16)
    modality = lut((3, -3, 16), [39999, 40001, 40003], "SS")
    path = write_dicom(pixels, ModalityLUTSequence=[modality], VOILUTSequence=[lut((4, 40000, 8), [0, 51, 102, 255])])
    np.testing.assert_array_equal(read_image(path, window=None).array[0], [[39999, 40001], [40003, 40003]])
    np.testing.assert_allclose(read_image(path).array[0], np.array([[0, 51], [255, 255]]) / 255, atol=1e-6)


def test_a_modality_lut_with_a_window_equals_pydicoms(write_dicom):
    pixels = samples(np.int16, 12)
    item = lut((300, -150, 16), (np.arange(300) * 9).tolist(), "SS")
    item.add_new(0x00283004, "LO", "US")
    path = write_dicom(
        pixels, BitsStored=12, HighBit=11, ModalityLUTSequence=[item], WindowCenter=1200, WindowWidth=1000
    )
    dataset = pydicom.dcmread(path)
    values = apply_modality_lut(pixels, dataset)
    np.testing.assert_array_equal(read_image(path, window=None).array[0], values)
    np.testing.assert_allclose(read_image(path).array[0], apply_voi_lut(values, dataset) / 65535, atol=1e-5)


def shown_by_dcmtk(path, *options):
    if shutil.which("dcmj2pnm") is None:
        pytest.skip("dcmj2pnm (Debian's dcmtk) is not installed")
    out = path.with_suffix(".pgm")
    subprocess.run(["dcmj2pnm", "+opw", *options, path, out], check=True, capture_output=True)
    lines = [line for line in out.read_text().splitlines() if not line.startswith("#")]
    kind, columns, rows, most, *values = " ".join(lines).split()
    assert kind == "P2"
    return np.array(values, float).reshape(int(rows), int(columns)) / int(most)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("stored", STORED)
def test_windows_equal_dcmtks(write_dicom, stored, photometric):
    """Whole-number rescales only: dcmtk cuts values after the modality LUT to whole numbers."""
    dtype, bits = STORED[stored]
    pixels = samples(dtype, bits)
    for pair, (center, width, function) in itertools.product(RESCALES[:2], (WINDOWS[0], WINDOWS[3])):
        voi = {"WindowCenter": center, "WindowWidth": width} | ({"VOILUTFunction": function} if function else {})
        path = write_dicom(
            pixels, BitsStored=bits, HighBit=bits - 1, PhotometricInterpretation=photometric, **rescale(pair), **voi
        )
        off = np.abs(read_image(path).array[0] - shown_by_dcmtk(path, "+Wi", "1"))
        assert off.max() <= 2 / 65535, (pair, function)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shape", [None, "IDENTITY", "INVERSE"])
def test_polarity_equals_dcmtks(write_dicom, photometric, shape):
    pixels = np.array([[0, 50], [100, 200]], np.uint8)
    elements = {"WindowCenter": 100.5, "WindowWidth": 201} | ({"PresentationLUTShape": shape} if shape else {})
    path = write_dicom(pixels, PhotometricInterpretation=photometric, **elements)
    np.testing.assert_allclose(read_image(path).array[0], shown_by_dcmtk(path, "+Wi", "1"), atol=2 / 65535)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_voi_lut_equals_dcmtks(write_dicom, photometric):
    pixels = samples(np.uint16, 12)
    entries = np.sort(RNG.integers(0, 4096, 4096)).tolist()
    path = write_dicom(
        pixels, BitsStored=12, HighBit=11, PhotometricInterpretation=photometric,
        VOILUTSequence=[lut((4096, 0, 12), entries)],
    )  # fmt: skip
    np.testing.assert_allclose(read_image(path).array[0], shown_by_dcmtk(path, "+Wl", "1"), atol=1e-3)
