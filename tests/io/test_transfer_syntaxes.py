"""Compressed files that dcmtk and pydicom write, read back: lossless bit for bit, lossy as their decoders read them."""

import shutil
import subprocess

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate_extended
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from medmm.errors import ImageError, Reason
from medmm.io.dicom import read_dicom

RNG = np.random.default_rng(11)
ROWS, COLUMNS = 37, 43  # odd sizes: rows do not end where bytes, words and blocks do
KINDS = {
    "u8": ("uint8", 8),
    "u8 of 7 bits": ("uint8", 7),
    "i8": ("int8", 8),
    "u16 of 10 bits": ("uint16", 10),
    "u16 of 12 bits": ("uint16", 12),
    "i16 of 12 bits": ("int16", 12),
    "u16": ("uint16", 16),
    "i16": ("int16", 16),
}
TOOLS = {
    "SV1": ("dcmcjpeg", "+e1"),
    **{f"process 14, predictor {number}": ("dcmcjpeg", "+el", "+sv", str(number)) for number in range(1, 8)},
    "JPEG-LS": ("dcmcjpls", "+el"),
    "RLE": ("dcmcrle",),
}


def picture(kind, bits, shape=(ROWS, COLUMNS)):
    """A slope with noise over the whole range of the bits, so that predictors and wavelets have work to do."""
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if kind.startswith("int") else (0, (1 << bits) - 1)
    rows, columns = np.indices(shape[-2:])
    slope = (rows + columns) / (shape[-2] + shape[-1] - 2) * (high - low) + low
    noise = RNG.normal(0, (high - low) / 50, shape)
    values = np.clip(np.rint(slope + noise), low, high)
    values.flat[:2] = low, high
    return values.astype(kind)


def stored(path):
    return read_dicom(path, window=None).array[0]


def by_tool(source, *command):
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} (Debian's dcmtk) is not installed")
    coded = source.with_name(source.stem + "-coded.dcm")
    subprocess.run([command[0], *command[1:], source, coded], check=True, capture_output=True)
    return coded


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("kind", KINDS)
def test_lossless_by_dcmtk(write_dicom, tool, kind):
    dtype, bits = KINDS[kind]
    pixels = picture(dtype, bits)
    source = write_dicom(pixels, BitsStored=bits, HighBit=bits - 1)
    coded = by_tool(source, *TOOLS[tool])
    assert pydicom.dcmread(coded).file_meta.TransferSyntaxUID.is_encapsulated
    np.testing.assert_array_equal(stored(coded), pixels)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless], ids=lambda uid: uid.name)
@pytest.mark.parametrize("kind", KINDS)
def test_lossless_by_pydicom(write_dicom, syntax, kind):
    dtype, bits = KINDS[kind]
    pixels = picture(dtype, bits, (3, ROWS, COLUMNS))
    path = write_dicom(pixels, BitsStored=bits, HighBit=bits - 1)
    dataset = pydicom.dcmread(path)
    try:
        dataset.compress(syntax, generate_instance_uid=False)
    except RuntimeError as error:
        pytest.skip(f"no encoder: {error}")
    dataset.save_as(path)
    np.testing.assert_array_equal(stored(path), pixels)


@pytest.mark.parametrize("bits_allocated", [8, 16, 32])
def test_rle_of_colour(write_dicom, bits_allocated):
    pixels = RNG.integers(0, 1 << bits_allocated, (ROWS, COLUMNS, 3), np.uint64).astype(f"u{bits_allocated // 8}")
    coded = by_tool(write_dicom(pixels), "dcmcrle")
    np.testing.assert_allclose(stored(coded), pixels @ [0.299, 0.587, 0.114], rtol=1e-5)


@pytest.mark.parametrize("table", [("+ot",), ("-ot",)], ids=["offset table", "no offset table"])
@pytest.mark.parametrize("tool", ["dcmcjpeg", "dcmcjpls", "dcmcrle"])
@pytest.mark.parametrize("frames", [1, 4])
def test_frames_in_fragments(write_dicom, tool, table, frames):
    """RLE is never cut by dcmtk into pieces that do not begin a frame of their own; one frame may be, with no table."""
    pixels = picture("uint16", 12, (frames, 64, 65))
    source = write_dicom(pixels if frames > 1 else pixels[0], BitsStored=12, HighBit=11)
    coded = by_tool(source, tool, "+fs", "1", *table)
    if frames > 1 and tool == "dcmcrle" and table == ("-ot",):
        with pytest.raises(ImageError) as caught:  # nothing in the file says where a frame begins
            stored(coded)
        assert caught.value.reason is Reason.DECODE_FAILED
        return
    assert pydicom.dcmread(coded).PixelData.count(b"\xfe\xff\x00\xe0") > frames + 1
    np.testing.assert_array_equal(stored(coded), pixels if frames > 1 else pixels[0])


def test_an_extended_offset_table(write_dicom):
    pixels = picture("uint16", 12, (4, ROWS, COLUMNS))
    frames = [imagecodecs.jpegls_encode(frame) for frame in pixels]
    data, offsets, lengths = encapsulate_extended(frames)
    path = write_dicom(
        pixels, syntax=JPEGLSLossless, coded=frames, BitsStored=12, HighBit=11,
        PixelData=data, ExtendedOffsetTable=offsets, ExtendedOffsetTableLengths=lengths,
    )  # fmt: skip
    np.testing.assert_array_equal(stored(path), pixels)


@pytest.mark.parametrize("wrong", [b"\xff" * 16, bytes(16), bytes(12)], ids=["far", "all 0", "short"])
def test_an_offset_table_that_lies_is_not_needed_where_each_frame_is_a_fragment(write_dicom, wrong):
    """Writers leave the table's 32-bit numbers wrong in large files."""
    pixels = picture("uint16", 12, (4, ROWS, COLUMNS))
    frames = [imagecodecs.jpegls_encode(frame) for frame in pixels]
    data = pydicom.encaps.encapsulate([bytes(frame) for frame in frames], has_bot=False)
    data = data[:4] + len(wrong).to_bytes(4, "little") + wrong + data[8:]
    path = write_dicom(pixels, syntax=JPEGLSLossless, coded=frames, BitsStored=12, HighBit=11, PixelData=data)
    np.testing.assert_array_equal(stored(path), pixels)


@pytest.mark.parametrize(("kind", "deviation"), [("u8", 2), ("u16 of 12 bits", 3), ("u16", 5)])
def test_near_lossless_stays_within_its_deviation(write_dicom, kind, deviation):
    dtype, bits = KINDS[kind]
    pixels = picture(dtype, bits)
    coded = by_tool(write_dicom(pixels, BitsStored=bits, HighBit=bits - 1), "dcmcjpls", "+en", "+md", str(deviation))
    off = np.abs(stored(coded) - pixels)
    assert 0 < off.max() <= deviation


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("u8", ("+eb",)),
        ("u8 of 7 bits", ("+ee",)),
        ("u16 of 10 bits", ("+ee", "+bt")),
        ("u16 of 12 bits", ("+ee", "+bt")),
        ("u8", ("+es",)),
        ("u8", ("+ep",)),
        ("u16 of 12 bits", ("+ep", "+bt")),
        ("u16 of 12 bits", ("+es", "+bt")),
    ],
)
def test_lossy_jpeg_equals_dcmtks_own_decoder(write_dicom, tmp_path, kind, options):
    dtype, bits = KINDS[kind]
    pixels = picture(dtype, bits)
    coded = by_tool(write_dicom(pixels, BitsStored=bits, HighBit=bits - 1), "dcmcjpeg", *options)
    subprocess.run(["dcmdjpeg", coded, tmp_path / "plain.dcm"], check=True, capture_output=True)
    dataset = pydicom.dcmread(tmp_path / "plain.dcm")
    want = pydicom.pixels.apply_modality_lut(dataset.pixel_array, dataset)
    assert np.abs(stored(coded) - want).max() <= (1 << bits) / 256


@pytest.mark.parametrize("options", ["+s4", "+s2", "+n2", "+n1", "+np", "+cr"])
def test_colour_jpeg_equals_dcmtks_own_decoder(write_dicom, tmp_path, options):
    """4:4:4, 4:2:2 and 4:1:1 with either name of the colours, and RGB with an Adobe marker."""
    rows, columns = np.indices((ROWS, COLUMNS))
    pixels = np.stack([rows * 6, columns * 5, 255 - rows * 3 - columns * 2], -1).astype(np.uint8)
    coded = by_tool(write_dicom(pixels), "dcmcjpeg", "+eb", options, "+q", "98")
    subprocess.run(["dcmdjpeg", coded, tmp_path / "plain.dcm"], check=True, capture_output=True)
    want = pydicom.dcmread(tmp_path / "plain.dcm").pixel_array @ [0.299, 0.587, 0.114]
    assert np.abs(stored(coded) - want).max() <= 1.5  # two decoders round chroma differently


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tile", [None, (16, 16)], ids=["one tile", "tiles"])
def test_high_throughput_jpeg_2000(write_dicom, kind, tile):
    """Written by OpenJPH, read by OpenJPEG."""
    dtype, bits = KINDS[kind]
    pixels = picture(dtype, bits, (64, 48))
    coded = imagecodecs.htj2k_encode(pixels, reversible=True, tile=tile)
    path = write_dicom(pixels, syntax=HTJ2KLossless, coded=[coded], BitsStored=bits, HighBit=bits - 1)
    np.testing.assert_array_equal(stored(path), pixels)


@pytest.mark.parametrize("reversible", [True, False], ids=["5/3", "9/7"])
def test_jpeg_2000_in_tiles(write_dicom, tmp_path, reversible):
    """8 bits: Pillow mixes up the tiles of 16-bit images that it writes."""
    from PIL import Image

    pixels = picture("uint8", 8, (90, 70))
    name = tmp_path / "tiles.j2k"
    Image.fromarray(pixels).save(name, irreversible=not reversible, tile_size=(32, 32), no_jp2=True)
    off = np.abs(stored(write_dicom(pixels, syntax=JPEG2000, coded=[name.read_bytes()])) - pixels)
    assert off.max() <= (0 if reversible else 2)


@pytest.mark.parametrize("reversible", [True, False], ids=["5/3", "9/7"])
@pytest.mark.parametrize("mct", [True, False], ids=["colour transform", "plain"])
def test_jpeg_2000_in_colour(write_dicom, reversible, mct):
    pixels = np.stack([picture("uint8", 8) for _ in range(3)], -1)
    level = 0 if reversible else 60
    coded = imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", level=level, reversible=reversible, mct=mct)
    name = ("YBR_RCT" if reversible else "YBR_ICT") if mct else "RGB"
    path = write_dicom(pixels, syntax=JPEG2000, coded=[coded], PhotometricInterpretation=name)
    off = np.abs(stored(path) - pixels @ [0.299, 0.587, 0.114])
    assert off.max() <= (1e-4 if reversible else 3)


def test_a_colour_transform_that_the_header_does_not_name(write_dicom):
    """The decoder gives RGB, whatever YBR the header speaks of; without a transform they are luminance and colours."""
    pixels = np.stack([picture("uint8", 8) for _ in range(3)], -1)
    for mct in (True, False):
        coded = imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", level=0, reversible=True, mct=mct)
        path = write_dicom(pixels, syntax=JPEG2000Lossless, coded=[coded], PhotometricInterpretation="YBR_FULL")
        want = pixels @ [0.299, 0.587, 0.114] if mct else pixels[..., 0]
        np.testing.assert_allclose(stored(path), want, atol=1e-4)


def test_a_jpeg_that_is_called_rgb_and_has_colours_of_half_the_size(write_dicom):
    """Without a JFIF or Adobe marker the sampling tells that it is YCbCr; where it is equal the header is right."""
    pixels = np.full((32, 32, 3), (250, 10, 20), np.uint8)
    for subsampling in ("420", "444"):
        coded = bytes(imagecodecs.jpeg8_encode(pixels, level=98, subsampling=subsampling))
        at = coded.index(b"\xff\xe0")
        coded = coded[:at] + coded[at + 2 + int.from_bytes(coded[at + 2 : at + 4], "big") :]
        path = write_dicom(pixels, syntax=JPEGBaseline8Bit, coded=[coded])
        meant = "YCBCR" if subsampling == "420" else "RGB"
        want = imagecodecs.jpeg8_decode(coded, colorspace=meant, outcolorspace="RGB")[0, 0] @ [0.299, 0.587, 0.114]
        np.testing.assert_allclose(stored(path), np.full((32, 32), want), atol=2)


@pytest.mark.parametrize("kind", ["u8", "u16 of 12 bits", "i16"])
def test_lossy_high_throughput_jpeg_2000(write_dicom, kind):
    """Written and read by OpenJPH, which wraps overshoots: the picture stays away from both ends."""
    dtype, bits = KINDS[kind]
    pixels = picture(dtype, bits, (64, 48)) // 2
    pixels += 0 if dtype.startswith("int") else 1 << bits - 2
    coded = imagecodecs.htj2k_encode(pixels, reversible=False, level=0.02)
    path = write_dicom(pixels, syntax=HTJ2K, coded=[coded], BitsStored=bits, HighBit=bits - 1)
    want = imagecodecs.htj2k_decode(coded).astype(float)
    assert np.abs(want - pixels).max() > 0
    assert np.abs(stored(path) - want).max() <= max(1, (1 << bits) / 256)


def test_jpeg_2000_whose_precision_is_not_bits_stored(write_dicom):
    """Header: 12 of 16 bits, signed; codestream: 16 bits, unsigned or signed, as writers really do."""
    pixels = picture("int16", 12)
    for values in (pixels, pixels.view(np.uint16)):
        coded = imagecodecs.jpeg2k_encode(values, codecformat="j2k", level=0, reversible=True)
        path = write_dicom(pixels, syntax=JPEG2000Lossless, coded=[coded], BitsStored=12, HighBit=11)
        np.testing.assert_array_equal(stored(path), pixels)
    coded = imagecodecs.jpeg2k_encode(pixels.view(np.uint16) & 0xFFF, bitspersample=12, codecformat="j2k", level=0)
    path = write_dicom(pixels, syntax=JPEG2000Lossless, coded=[coded], BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(stored(path), pixels)
