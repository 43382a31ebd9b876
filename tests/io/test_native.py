"""Samples of 12 bits that are packed without gaps, against one long number put together by hand."""

import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, RLELossless

from medmm import read_image
from medmm.errors import ImageError, Reason

RNG = np.random.default_rng(12)


def packed(values):
    """PS3.5 8.1.1: the lowest bit of each sample follows the highest one of the sample in front."""
    number = sum((int(value) & 0xFFF) << 12 * place for place, value in enumerate(np.ravel(values)))
    length = -(-12 * np.size(values) // 8)
    return number.to_bytes(length + length % 2, "little")


def twelve(write_dicom, values, data, **elements):
    return write_dicom(values, BitsAllocated=12, BitsStored=12, HighBit=11, PixelData=data, **elements)


def test_two_samples_take_three_bytes(write_dicom):
    path = twelve(write_dicom, np.zeros((1, 2), np.uint16), b"\xbc\x3a\x12\0")
    np.testing.assert_array_equal(read_image(path, window=None).array, [[[0xABC, 0x123]]])


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("shape", [(4, 6), (3, 5), (2, 3, 5), (3, 3, 5), (3, 2, 5)])
@pytest.mark.parametrize("signed", [False, True])
def test_packed_samples(write_dicom, syntax, shape, signed):
    """Odd numbers of pixels too: the next frame then begins within a byte."""
    values = RNG.integers(-2048 if signed else 0, 2048 if signed else 4096, shape).astype("i2" if signed else "u2")
    data = packed(values)
    if syntax == ExplicitVRBigEndian:
        data = np.frombuffer(data, "<u2").astype(">u2").tobytes()
    image = read_image(twelve(write_dicom, values, data, syntax=syntax), window=None)
    np.testing.assert_array_equal(image.array.reshape(shape), values)


def test_bits_above_the_stored_ones_are_cleared(write_dicom):
    values = RNG.integers(0, 1024, (3, 5)).astype(np.uint16)
    path = write_dicom(values, BitsAllocated=12, BitsStored=10, HighBit=9, PixelData=packed(values | 0x800))
    np.testing.assert_array_equal(read_image(path, window=None).array[0], values)


def test_packed_colours(write_dicom):
    values = RNG.integers(0, 4096, (3, 5, 3)).astype(np.uint16)
    image = read_image(twelve(write_dicom, values, packed(values)), window=None)
    np.testing.assert_allclose(image.array[0], values @ [0.299, 0.587, 0.114], rtol=1e-5)


def test_packed_samples_that_are_cut_short_or_compressed_are_refused(write_dicom):
    values = RNG.integers(0, 4096, (4, 6)).astype(np.uint16)
    for path, reason in (
        (twelve(write_dicom, values, packed(values)[:-2]), Reason.DECODE_FAILED),
        (write_dicom(values, "b.dcm", RLELossless, [b"\0" * 64], BitsAllocated=12, BitsStored=12, HighBit=11),
         Reason.HEADER_INVALID),
    ):  # fmt: skip
        with pytest.raises(ImageError) as caught:
            read_image(path)
        assert caught.value.reason is reason
