"""JPEG 2000 at a lower resolution gives what a full decode and an area mean give, to within half a percent."""

import cv2
import imagecodecs
import numpy as np
import pytest

from medmm.io import codestream, wavelet
from medmm.io.dicom import read_dicom

RNG = np.random.default_rng(11)
J2K, HTJ2K = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201"
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}


def scene(rows, columns, top):
    """Soft shapes, an edge and grain, from 0 to ``top``; as float64."""
    y, x = np.mgrid[:rows, :columns] / min(rows, columns)
    values = 0.5 + 0.3 * np.sin(7 * x) * np.cos(5 * y) + 0.15 * ((x - 0.4) ** 2 + (y - 0.5) ** 2 < 0.04)
    return np.clip(values + RNG.normal(0, 0.01, (rows, columns)), 0, 1) * top


def encoded(values, bits, kind="j2k"):
    if kind == "htj2k":
        return imagecodecs.htj2k_encode(values, reversible=True)
    return imagecodecs.jpeg2k_encode(values, codecformat="j2k", bitspersample=bits, reversible=True, level=0)


def header(frame):
    found = codestream.describe(bytes(frame))
    assert found is not None
    return found


@pytest.mark.parametrize("sides", [(640, 512), (641, 515), (701, 613), (600, 1200)])
@pytest.mark.parametrize(("bits", "kind"), [(10, "u2"), (12, "u2"), (16, "u2"), (16, "i2")])
def test_a_lower_resolution_is_the_mean_over_areas(sides, bits, kind):
    low = -(1 << 15) if kind == "i2" else 0
    top = (1 << bits) - 1
    values = np.rint(scene(*sides, top) + low).astype(kind)
    frame = encoded(values, bits)
    size = 120
    level = wavelet.level_for(header(frame), size)
    assert level >= 1
    got = wavelet.decode_reduced(bytes(frame), header(frame), level)
    assert got.shape == tuple(-(-side // 2**level) for side in sides)
    mean = cv2.resize(values.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    difference = cv2.resize(got, (size, size), interpolation=cv2.INTER_AREA) - mean
    assert np.abs(difference).mean() < 0.005 * top
    assert abs(difference.mean()) < 0.0015 * top


@pytest.mark.parametrize("level", [1, 2, 3])
def test_nothing_moves(level):
    """The centre of a blob lies where it lies in the full picture, to a hundredth of the coarse pixel."""
    y, x = np.mgrid[:512, :512]
    values = np.rint(4000 * np.exp(-((x - 251.3) ** 2 + (y - 170.8) ** 2) / (2 * 40**2))).astype(np.uint16)
    frame = encoded(values, 12)
    got = wavelet.decode_reduced(bytes(frame), header(frame), level)
    step = 2**level
    rows, columns = (np.arange(side) * step + (step - 1) / 2 for side in got.shape)
    total = got.sum()
    assert (got.sum(1) @ rows) / total == pytest.approx(170.8, abs=0.01 * step)
    assert (got.sum(0) @ columns) / total == pytest.approx(251.3, abs=0.01 * step)


def test_levels_are_those_of_the_codestream():
    frame = header(encoded(np.zeros((1024, 1024), np.uint16), 12))
    assert frame.levels == 5  # OpenJPEG's default of six resolutions
    assert [wavelet.level_for(frame, size) for size in (1024, 513, 512, 256, 32, 1)] == [0, 0, 1, 2, 5, 5]


def test_a_level_whose_size_pillow_rounds_otherwise_is_left_out():
    frame = header(encoded(np.zeros((1955, 1841), np.uint16), 15))  # 1841 / 4 = 460.25: 461 by the standard
    assert wavelet.level_for(frame, 224) == 1


@pytest.mark.parametrize("picture", [np.zeros((300, 300, 3), np.uint16), np.zeros((300, 300), np.uint8)])
def test_colour_and_few_grey_values_are_decoded_in_full(picture):
    assert wavelet.level_for(header(encoded(picture, 8 * picture.itemsize)), 100) == 0


@pytest.mark.parametrize(("syntax", "kind"), [(J2K, "j2k"), (HTJ2K, "htj2k")])
def test_read_dicom_takes_the_level_that_suffices(write_dicom, monkeypatch, syntax, kind):
    values = np.rint(scene(512, 512, 4095)).astype(np.uint16)
    plain = read_dicom(write_dicom(values, BitsStored=12, HighBit=11, **WINDOW), size=100)
    seen = []
    decode = wavelet.decode_reduced
    monkeypatch.setattr(wavelet, "decode_reduced", lambda *args: seen.append(args[2]) or decode(*args))
    path = write_dicom(values, syntax=syntax, coded=[encoded(values, 12, kind)], BitsStored=12, HighBit=11, **WINDOW)
    coded = read_dicom(path, size=100)
    assert seen == [2]
    assert np.abs(coded.array - plain.array).mean() < 0.005


@pytest.mark.parametrize(
    "elements",
    [{"PixelPaddingValue": 0, **WINDOW}, {}, {"WindowCenter": 2000, "WindowWidth": 300}],
    ids=["padding", "no window: the range of all pixels", "a narrow window"],
)
def test_what_needs_every_pixel_gets_every_pixel(write_dicom, monkeypatch, elements):
    values = np.rint(scene(512, 512, 4095)).astype(np.uint16)
    values[:40] = 0
    values[200, 200] = 4095
    monkeypatch.setattr(wavelet, "decode_reduced", lambda *_: pytest.fail("a smaller picture was taken"))
    twelve = {"BitsStored": 12, "HighBit": 11} | elements
    coded = write_dicom(values, syntax=J2K, coded=[encoded(values, 12)], **twelve)
    plain = write_dicom(values, name="plain.dcm", **twelve)
    for window in ("auto", None):
        np.testing.assert_array_equal(read_dicom(coded, 100, window).array, read_dicom(plain, 100, window).array)


def test_bits_above_the_stored_ones_are_not_averaged_in(write_dicom):
    """An overlay in bit 15 of a 16-bit codestream with 12 bits stored."""
    values = np.rint(scene(512, 512, 4095)).astype(np.uint16)
    marked = values.copy()
    marked[100:150, 100:150] |= 0x8000
    twelve = {"BitsStored": 12, "HighBit": 11} | WINDOW
    coded = read_dicom(write_dicom(marked, syntax=J2K, coded=[encoded(marked, 16)], **twelve), size=100)
    plain = read_dicom(write_dicom(values, name="plain.dcm", **twelve), size=100)
    np.testing.assert_allclose(coded.array, plain.array, atol=1e-6)


@pytest.mark.shared
@pytest.mark.parametrize("size", [512, 224])
def test_real_radiographs_stay_within_half_a_percent(shared, size):
    files = sorted((shared / "dicom" / "wg04").glob("RG*_J2K*"))
    assert len(files) == 5
    for file in files:
        mean = cv2.resize(read_dicom(file).array[0], (size, size), interpolation=cv2.INTER_AREA)
        assert np.abs(read_dicom(file, size=size).array[0] - mean).mean() < 0.005, file.name
