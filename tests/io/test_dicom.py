"""Pixels of DICOM files against arrays that were written."""

import datetime

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from medmm import read_image
from medmm.errors import ImageError, Reason, UsageError
from medmm.io.dicom import read_dicom, read_header
from medmm.io.image import sniff
from medmm.types import Laterality

RNG = np.random.default_rng(3)


def stored(path):
    return read_dicom(path, window=None).array[0]


def reason_of(path):
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert str(path) not in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("kind", ["uint8", "int8", "uint16", "int16", "uint32", "int32"])
@pytest.mark.parametrize(
    "syntax",
    [None, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
    ids=str,
)
def test_native_samples(write_dicom, kind, syntax):
    limits = np.iinfo(kind)
    pixels = RNG.integers(limits.min, limits.max, (7, 9), kind, endpoint=True)
    path = write_dicom(pixels, **({} if syntax is None else {"syntax": syntax}))
    np.testing.assert_array_equal(stored(path), pixels.astype(np.float32))


def test_image_without_preamble(write_dicom, tmp_path):
    pixels = RNG.integers(0, 4096, (5, 6), np.uint16)
    path = write_dicom(pixels, syntax=ImplicitVRLittleEndian)
    bare = tmp_path / "bare"
    pydicom.dcmread(path).save_as(bare, enforce_file_format=False)
    body = bare.read_bytes()
    start = 144 + int.from_bytes(body[140:144], "little")
    bare.write_bytes(body[start:])
    assert sniff(bare) == "dicom"
    np.testing.assert_array_equal(stored(bare), pixels)


def test_twelve_signed_bits_with_an_overlay_above_them(write_dicom):
    """Bits 12 to 15 held overlays once; they are no part of the value."""
    values = np.array([[-2048, -1], [0, 2047]], np.int16)
    dirty = (values.view(np.uint16) & 0x0FFF) | np.array([[0x3000, 0x0000], [0xF000, 0x5000]], np.uint16)
    path = write_dicom(dirty.view(np.int16), BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(stored(path), values)


def test_stored_bits_above_bit_zero(write_dicom):
    values = np.array([[0, 1], [2, 4095]], np.uint16)
    path = write_dicom(values << 4, BitsStored=12, HighBit=15)
    np.testing.assert_array_equal(stored(path), values)


def test_single_bits_of_frames_that_share_a_byte(write_dicom):
    bits = RNG.integers(0, 2, (3, 3, 7), np.uint8)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    path = write_dicom(bits, BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=packed + b"\0" * (len(packed) % 2))
    np.testing.assert_array_equal(stored(path), bits)


def test_float_pixels_keep_their_values_and_nan_is_black(write_dicom):
    pixels = np.array([[0.25, np.nan], [-1.5, 2.25]], np.float32)
    path = write_dicom(pixels.view(np.uint32), PixelData=None, BitsStored=None, HighBit=None, PixelRepresentation=None,
                       FloatPixelData=pixels.tobytes())  # fmt: skip
    np.testing.assert_array_equal(stored(path), pixels)
    np.testing.assert_allclose(read_dicom(path).array[0], [[1.75 / 3.75, 0], [0, 1]], atol=1e-6)


def test_frames_become_depth_and_keep_their_order(write_dicom):
    pixels = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    image = read_dicom(write_dicom(pixels), window=None)
    assert image.array.shape == (1, 2, 3, 4)
    np.testing.assert_array_equal(image.array[0], pixels)


def test_colour_becomes_luminance_in_either_order_of_planes(write_dicom):
    pixels = RNG.integers(0, 256, (4, 5, 3), np.uint8)
    want = pixels @ np.array([0.299, 0.587, 0.114])
    image = read_dicom(write_dicom(pixels))
    np.testing.assert_allclose(image.array[0], want / 255, atol=1e-6)
    assert "luminance" in image.notes[0]
    planar = write_dicom(pixels, PlanarConfiguration=1, PixelData=pixels.transpose(2, 0, 1).tobytes())
    np.testing.assert_allclose(stored(planar), want, atol=1e-4)
    np.testing.assert_array_equal(stored(write_dicom(pixels, PhotometricInterpretation="YBR_FULL")), pixels[..., 0])


def test_size_is_the_mean_of_the_area(write_dicom):
    pixels = RNG.integers(0, 4096, (8, 12), np.uint16)
    path = write_dicom(pixels, RescaleSlope=2, RescaleIntercept=-100, PixelSpacing=[0.5, 0.25])
    image = read_dicom(path, size=4, window=None)
    want = pixels.reshape(4, 2, 4, 3).mean(axis=(1, 3)) * 2 - 100
    np.testing.assert_allclose(image.array[0], want, rtol=1e-5)
    assert image.spacing_mm == (1.0, 0.75)


def test_the_full_range_does_not_depend_on_the_size(write_dicom):
    pixels = np.zeros((4, 4), np.uint8)
    pixels[0, 0] = 200
    np.testing.assert_allclose(read_dicom(write_dicom(pixels), size=2).array[0], [[0.25, 0], [0, 0]], atol=1e-6)


def test_header(write_dicom):
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "R-10206", "SRT", "antero-posterior"
    path = write_dicom(
        np.zeros((3, 4), np.uint8),
        PatientID="MRN-12",
        PatientName="Doe^Jane",
        PatientBirthDate="19500701",
        PatientSex="F",
        StudyDate="20100702",
        AccessionNumber="A7",
        StudyInstanceUID="1.2.3",
        SeriesInstanceUID="1.2.3.4",
        Manufacturer="ACME",
        ManufacturerModelName="X1",
        ImageLaterality="L",
        ImagerPixelSpacing=[0.2, 0.3],
        ViewCodeSequence=[code],
    )
    header = read_header(path)
    assert (header.patient_id, header.accession, header.study_uid, header.series_uid) == (
        "MRN-12",
        "A7",
        "1.2.3",
        "1.2.3.4",
    )
    assert header.study_date == datetime.date(2010, 7, 2)
    assert header.age_years == pytest.approx(60.0, abs=0.01)
    assert (header.view, header.laterality, header.sex, header.device) == ("AP", Laterality.LEFT, "F", "ACME X1")
    assert (header.rows, header.columns, header.frames, header.spacing_mm) == (3, 4, 1, (0.2, 0.3))
    assert header.has_pixels
    told = repr(header) + repr(read_dicom(path).header)
    for secret in ("MRN-12", "Doe", "A7", "1950", "2010", "1.2.3"):
        assert secret not in told


@pytest.mark.parametrize(("age", "years"), [("045Y", 45), ("006M", 0.5), ("026W", 0.4983), ("XXXX", None)])
def test_age_strings(write_dicom, age, years):
    got = read_header(write_dicom(np.zeros((2, 2), np.uint8), PatientAge=age)).age_years
    assert got == (None if years is None else pytest.approx(years, abs=1e-4))


def test_faults_have_their_reasons(write_dicom, tmp_path):
    pixels = RNG.integers(0, 4096, (64, 64), np.uint16)
    whole = write_dicom(pixels).read_bytes()
    cases = {
        "missing": (None, Reason.FILE_MISSING),
        "empty": (b"", Reason.FILE_EMPTY),
        "text": (b"Findings: none.", Reason.NOT_AN_IMAGE),
        "cut in the pixels": (whole[:-100], Reason.DECODE_FAILED),
        "cut in the header": (whole[:180], Reason.HEADER_INVALID),
    }
    for name, (content, reason) in cases.items():
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        assert reason_of(path) is reason, name
    assert reason_of(tmp_path) is Reason.GEOMETRY_MISSING  # a folder of radiographs is no volume
    assert reason_of(write_dicom(None)) is Reason.NO_PIXELS
    assert reason_of(write_dicom(pixels, BitsAllocated=12)) is Reason.HEADER_INVALID
    assert reason_of(write_dicom(pixels, Rows=65535, Columns=65535)) is Reason.TOO_LARGE
    assert reason_of(write_dicom(pixels, Rows=11000, Columns=11000)) is Reason.DECODE_FAILED
    assert reason_of(write_dicom(pixels, Rows=32000, Columns=32000)) is Reason.TOO_LARGE
    assert (
        reason_of(write_dicom(pixels, coded=[b"\0" * 64], syntax="1.2.840.10008.1.2.4.100"))
        is Reason.SYNTAX_UNSUPPORTED
    )


def test_the_error_says_bytes_and_cause(write_dicom):
    with pytest.raises(ImageError, match=r"got 98 bytes; expected 128 bytes\. .*not copied whole"):
        read_image(write_dicom(np.zeros((8, 8), np.uint16), PixelData=b"\0" * 98))


@pytest.mark.parametrize(("size", "window"), [(0, "auto"), (-3, "auto"), (True, "auto"), (2.5, "auto"), (8, "lung")])
def test_requests_that_cannot_be(write_dicom, size, window):
    with pytest.raises(UsageError):
        read_image(write_dicom(np.zeros((8, 8), np.uint16)), size=size, window=window)


@pytest.mark.shared
def test_an_mr_window_on_a_real_file(shared):
    """MR_small: center 600, width 1600, so LINEAR runs from -200 to 1399."""
    path = shared / "dicom/odd/MR_small.dcm"
    values = pydicom.dcmread(path).pixel_array.astype(np.float64)
    np.testing.assert_allclose(read_dicom(path).array[0], np.clip((values + 200) / 1599, 0, 1), atol=1e-6)


@pytest.mark.shared
def test_headers_of_a_real_series_agree(shared):
    headers = [read_header(path) for path in (shared / "dicom/ct_series").iterdir()]
    assert len({header.series_uid for header in headers}) == 1
    assert len({header.sop_uid for header in headers}) == len(headers) == 20
    assert {header.spacing_mm for header in headers} == {(0.9765625, 0.9765625)}
