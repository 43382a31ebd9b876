"""Compressed frames: written by independent encoders, read back; damaged ones are refused."""

import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian

from medmm.errors import ImageError, Reason
from medmm.io import codecs, codestream
from medmm.io.dicom import read_dicom

RNG = np.random.default_rng(5)
SMOOTH = (np.add.outer(np.arange(40), np.arange(48)) * 40 + RNG.integers(0, 30, (40, 48))).astype(np.uint16)
TWELVE = {"BitsStored": 12, "HighBit": 11}
J2K, JLS, JPLL, JPEG, EXTENDED = (f"1.2.840.10008.1.2.4.{end}" for end in ("90", "80", "70", "50", "51"))


def stored(path):
    return read_dicom(path, window=None).array[0]


def refused(path):
    with pytest.raises(ImageError) as caught:
        read_dicom(path)
    assert caught.value.reason is Reason.DECODE_FAILED
    return str(caught.value)


def rle(frame):
    """PS3.5 annex G: byte planes, most significant first, here as literal runs only."""
    planes = frame.astype(">u2").view(np.uint8).reshape(-1, 2).T
    segments = []
    for plane in planes:
        data = plane.tobytes()
        runs = b"".join(bytes([len(part) - 1]) + part for part in (data[i : i + 128] for i in range(0, len(data), 128)))
        segments.append(runs + b"\0" * (len(runs) % 2))
    offsets = np.cumsum([64, *map(len, segments[:-1])]).tolist()
    return struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(offsets))) + b"".join(segments)


LOSSLESS = {
    J2K: lambda frame: imagecodecs.jpeg2k_encode(frame, codecformat="j2k", level=0, reversible=True),
    JLS: imagecodecs.jpegls_encode,
    JPLL: imagecodecs.ljpeg_encode,
    codecs.RLE: rle,
    codecs.DEFLATED_FRAMES: lambda frame: zlib.compress(frame.tobytes(), wbits=-15),
}


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda uid: codecs.NAMES[uid])
def test_lossless_compression_gives_every_value_back(write_dicom, syntax):
    frames = np.stack([SMOOTH, SMOOTH[::-1]])
    coded = [LOSSLESS[syntax](np.ascontiguousarray(frame)) for frame in frames]
    np.testing.assert_array_equal(stored(write_dicom(frames, syntax=syntax, coded=coded, **TWELVE)), frames)


@pytest.mark.parametrize("syntax", [JLS, JPLL], ids=lambda uid: codecs.NAMES[uid])
@pytest.mark.parametrize("bits", [12, 16])
def test_signed_values_in_codestreams_that_know_no_sign(write_dicom, syntax, bits):
    """-5 in 12 bits is written as 0xFFB; 16 bits of precision may hold either."""
    values = (SMOOTH.astype(np.int16) - 2000).clip(-2048, 2047)
    coded = [LOSSLESS[syntax](values.view(np.uint16) & np.uint16((1 << bits) - 1))]
    path = write_dicom(values, syntax=syntax, coded=coded, BitsStored=bits, HighBit=bits - 1)
    np.testing.assert_array_equal(stored(path), values)


def test_signed_jpeg_2000(write_dicom):
    values = SMOOTH.astype(np.int16) - 2000
    np.testing.assert_array_equal(stored(write_dicom(values, syntax=J2K, coded=[LOSSLESS[J2K](values)])), values)


def test_colour_of_jpeg_baseline(write_dicom):
    """Luminance of what libjpeg decodes: YCbCr inside whatever the header says, if a JFIF marker says so."""
    rgb = np.stack([SMOOTH >> 4, SMOOTH[::-1] >> 4, SMOOTH[:, ::-1] >> 4], axis=-1).astype(np.uint8)
    coded = imagecodecs.jpeg8_encode(rgb, level=95)
    for photometric in ("YBR_FULL_422", "RGB"):
        path = write_dicom(rgb, syntax=JPEG, coded=[coded], PhotometricInterpretation=photometric)
        want = rgb @ np.array([0.299, 0.587, 0.114])
        assert np.abs(stored(path) - want).mean() < 1.5


def test_a_mislabelled_syntax_is_decoded_by_its_content(write_dicom):
    path = write_dicom(SMOOTH, syntax=J2K, coded=[imagecodecs.jpegls_encode(SMOOTH)], **TWELVE)
    np.testing.assert_array_equal(stored(path), SMOOTH)


def test_lossy_values_beyond_the_stored_bits_are_clipped(write_dicom):
    """A 12-bit JPEG of 10-bit pixels may overshoot 1023; cutting the bit would make white black."""
    bright = np.full((16, 16), 1030, np.uint16)
    path = write_dicom(bright, syntax=EXTENDED, coded=[imagecodecs.ljpeg_encode(bright)], BitsStored=10, HighBit=9)
    np.testing.assert_array_equal(stored(path), np.full((16, 16), 1023))


@pytest.mark.parametrize(
    ("syntax", "what", "expected"),
    [
        *((syntax, "is cut short", "an end marker") for syntax in (J2K, JLS, JPLL)),
        (codecs.RLE, "has a broken RLE header", "2 segments in their order"),
        (codecs.DEFLATED_FRAMES, "is cut short", "3,840 bytes"),
    ],
    ids=lambda value: codecs.NAMES.get(value, ""),
)
def test_cut_frames_are_refused(write_dicom, syntax, what, expected):
    coded = LOSSLESS[syntax](SMOOTH)
    with pytest.raises(ImageError) as caught:
        read_dicom(write_dicom(SMOOTH, syntax=syntax, coded=[coded[: len(coded) // 2]], **TWELVE))
    assert caught.value.reason is Reason.DECODE_FAILED
    assert (caught.value.what, caught.value.expected) == (f"frame 0 {what}", expected)


def test_missing_frames_and_lying_sizes_are_refused_before_they_are_decoded(write_dicom):
    coded = LOSSLESS[J2K](SMOOTH)
    message = refused(write_dicom(SMOOTH, syntax=J2K, coded=[coded], NumberOfFrames=3))
    assert "got 1 frames in" in message
    assert "expected 3 frames" in message
    assert "40 x 48 x 1; expected 41 x 48 x 1" in refused(write_dicom(SMOOTH, syntax=J2K, coded=[coded], Rows=41))
    bomb = zlib.compress(bytes(1 << 24), wbits=-15)
    path = write_dicom(SMOOTH, syntax=codecs.DEFLATED_FRAMES, coded=[bomb])
    np.testing.assert_array_equal(stored(path), np.zeros_like(SMOOTH))  # inflated to the header's size, no further
    refused(write_dicom(SMOOTH, syntax=codecs.RLE, coded=[rle(SMOOTH)[:80]], Rows=4000, Columns=4000))


def test_a_transfer_syntax_that_denies_or_invents_the_compression_is_refused(write_dicom):
    """The compressed bytes of a small picture are more than its samples, and would be shown as noise."""
    small = SMOOTH[:2, :3]
    path = write_dicom(small, syntax=JLS, coded=[LOSSLESS[JLS](small)])
    wrong = ExplicitVRLittleEndian.encode().ljust(len(JLS), b"\0")
    path.write_bytes(path.read_bytes().replace(JLS.encode(), wrong, 1))
    assert "says that they are not" in refused(path)
    path = write_dicom(SMOOTH)
    content = path.read_bytes().replace(b"UI\x14\x00" + ExplicitVRLittleEndian.encode() + b"\0",
                                        b"UI\x14\x00" + b"1.2.840.10008.1.2.5\0")  # fmt: skip
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize("offset", [0, 63, 200_000, 0xFFFF0054])
def test_rle_segments_that_lie_elsewhere_are_refused(write_dicom, offset):
    """The decoder itself would read there and take the process with it."""
    coded = bytearray(rle(SMOOTH))
    coded[8:12] = struct.pack("<I", offset)
    assert "broken RLE header" in refused(write_dicom(SMOOTH, syntax=codecs.RLE, coded=[coded], **TWELVE))


class PanicException(BaseException):
    """As pyo3's: no Exception."""


def test_a_panic_is_a_failed_decode_and_an_interrupt_is_not():
    def throw(error):
        raise error

    assert codecs.attempt(throw, PanicException("index out of bounds")) == "the decoder panicked"
    assert codecs.attempt(throw, ValueError("bad")) == "ValueError: bad"
    for error in (KeyboardInterrupt, SystemExit, MemoryError):
        with pytest.raises(error):
            codecs.attempt(throw, error())


def test_codestreams_describe_themselves():
    rgb = np.zeros((5, 7, 3), np.uint8)
    jpeg = codestream.describe(imagecodecs.jpeg8_encode(rgb))
    assert (jpeg.kind, jpeg.rows, jpeg.columns, jpeg.components, jpeg.precision) == ("jpeg", 5, 7, 3, 8)
    assert jpeg.is_rgb is False
    signed = codestream.describe(LOSSLESS[J2K](SMOOTH.astype(np.int16)))
    assert (signed.kind, signed.rows, signed.columns, signed.precision, signed.signed) == (
        "jpeg_2000",
        40,
        48,
        16,
        True,
    )
    boxed = codestream.describe(imagecodecs.jpeg2k_encode(SMOOTH, codecformat="jp2", level=0, reversible=True))
    assert (boxed.kind, boxed.rows) == ("jpeg_2000", 40)
    assert codestream.describe(imagecodecs.jpegls_encode(SMOOTH)).kind == "jpeg_ls"
    assert codestream.describe(imagecodecs.ljpeg_encode(SMOOTH)).kind == "jpeg_lossless"
    assert not codestream.describe(imagecodecs.jpegls_encode(SMOOTH)[:-2]).complete
    for junk in (b"", b"\xff\xd8", b"\xff\xd8\xff\xe0\0\x10JFIF", b"\xff\x4f\xff\x51\0", bytes(100)):
        assert codestream.describe(junk) is None


@pytest.mark.parametrize(("syntax", "lossless"), [(JPEG, False), (JPLL, True)])
def test_a_frame_that_promises_more_pixels_than_its_bytes_hold_is_no_work(write_dicom, monkeypatch, syntax, lossless):
    """libjpeg would fill 90 million pixels out of two kilobytes, and call it an image."""
    frame = bytearray(imagecodecs.jpeg8_encode(SMOOTH.astype(np.uint8), lossless=lossless or None))
    start = next(at for at in range(len(frame)) if frame[at] == 0xFF and frame[at + 1] in (0xC0, 0xC3))
    frame[start + 5 : start + 9] = struct.pack(">HH", 9000, 10000)
    monkeypatch.setattr(codecs, "_imagecodecs", lambda *_: pytest.fail("it was decoded"))
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    path = write_dicom(SMOOTH, syntax=syntax, coded=[bytes(frame)], Rows=9000, Columns=10000, **eight)
    assert "fewer bytes than so many pixels take" in refused(path)
