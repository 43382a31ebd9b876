"""PNG and JPEG against Pillow."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image as Pillow

from medmm import read_image
from medmm.errors import ImageError, Reason
from medmm.io.image import Format, sniff
from medmm.io.resize import resize_area

RNG = np.random.default_rng(11)
GREY = RNG.integers(0, 256, (6, 9), np.uint8)
RGB = RNG.integers(0, 256, (6, 9, 3), np.uint8)


def save(path, array, mode=None, **options):
    Pillow.fromarray(array, mode).save(path, **options)
    return path


def reason_of(path):
    with pytest.raises(ImageError) as caught:
        read_image(path)
    return caught.value.reason


def test_eight_bit_png(tmp_path):
    image = read_image(save(tmp_path / "x.png", GREY))
    assert image.array.shape == (1, 6, 9)
    np.testing.assert_allclose(image.array[0], GREY / 255, atol=1e-6)
    np.testing.assert_array_equal(read_image(tmp_path / "x.png", window=None).array[0], GREY)


def test_sixteen_bit_png_takes_the_range_of_its_values(tmp_path):
    deep = np.array([[100, 1100], [2100, 4100]], np.uint16)
    path = save(tmp_path / "x.png", deep)
    np.testing.assert_array_equal(read_image(path, window=None).array[0], deep)
    np.testing.assert_allclose(read_image(path).array[0], [[0, 0.25], [0.5, 1]], atol=1e-6)


def test_sixteen_bit_colour_png(tmp_path):
    deep = RNG.integers(0, 65536, (4, 5, 3), np.uint16)
    (tmp_path / "x.png").write_bytes(imagecodecs.png_encode(deep))
    got = read_image(tmp_path / "x.png", window=None).array[0]
    np.testing.assert_allclose(got, deep @ np.array([0.299, 0.587, 0.114]), rtol=1e-5)


@pytest.mark.parametrize("mode", ["1", "P", "RGB", "RGBA", "LA"])
def test_other_kinds_of_png_equal_pillows_luminance(tmp_path, mode):
    """Pillow rounds luminance to whole numbers; transparent pixels are black here."""
    picture = Pillow.fromarray(RGB).convert(mode)
    if mode in ("RGBA", "LA"):
        picture.putalpha(Pillow.fromarray(np.where(GREY > 128, 255, 0).astype(np.uint8)))
    picture.save(tmp_path / "x.png")
    want = np.asarray(picture.convert("RGB").convert("L"), np.float32)
    if mode in ("RGBA", "LA"):
        want = np.where(GREY > 128, want, 0)
    assert np.abs(read_image(tmp_path / "x.png", window=None).array[0] - want).max() <= 1


@pytest.mark.parametrize("array", [GREY, RGB], ids=["grey", "colour"])
def test_jpeg_equals_pillow(tmp_path, array):
    path = save(tmp_path / "x.jpg", array, quality=90)
    want = np.asarray(Pillow.open(path).convert("L"), np.float32)
    np.testing.assert_array_equal(read_image(path, window=None).array[0], want)
    np.testing.assert_allclose(read_image(path).array[0], want / 255, atol=1e-6)


def test_jpeg_turned_upright(tmp_path):
    exif = Pillow.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "x.jpg", np.repeat(GREY, 8, axis=0), exif=exif)
    image = read_image(path, window=None)
    np.testing.assert_array_equal(image.array[0], np.rot90(np.asarray(Pillow.open(path)), -1))
    assert image.array.shape == (1, 9, 48)
    assert "upright" in image.notes[0]


def test_a_jpeg_scaled_while_decoding_is_the_mean_of_the_area(tmp_path):
    smooth = np.add.outer(np.arange(512), np.arange(768)) / 5
    path = save(tmp_path / "x.jpg", smooth.astype(np.uint8), quality=95)
    full = read_image(path, window=None).array[0]
    small = read_image(path, size=64).array[0]
    assert np.abs(small - resize_area(full, 64) / 255).mean() < 0.002


def test_resize_by_hand():
    plane = np.arange(16, dtype=np.uint8).reshape(4, 4)
    np.testing.assert_array_equal(resize_area(plane, 2), [[2.5, 4.5], [10.5, 12.5]])
    np.testing.assert_allclose(resize_area(np.array([[0, 4]], np.uint8), 4)[0], [0, 1, 3, 4])
    np.testing.assert_array_equal(resize_area(np.arange(8, dtype=np.int32).reshape(1, 8), 2)[0], [1.5, 5.5])
    same = np.ones((3, 3), np.float32)
    assert not np.shares_memory(resize_area(same, None), same)


def test_content_decides_not_the_name(tmp_path):
    save(tmp_path / "x.png", GREY).rename(tmp_path / "x.dcm")
    assert sniff(tmp_path / "x.dcm") is Format.PNG
    np.testing.assert_array_equal(read_image(tmp_path / "x.dcm", window=None).array[0], GREY)


def test_faults_have_their_reasons(tmp_path):
    jpeg, png = io.BytesIO(), io.BytesIO()
    Pillow.fromarray(RGB).save(jpeg, "JPEG")
    Pillow.fromarray(RGB).save(png, "PNG")
    flipped = bytearray(png.getvalue())
    flipped[60] ^= 1
    lying = bytearray(png.getvalue())
    lying[16:24] = b"\0\xff\xff\xff\0\xff\xff\xff"
    cases = {
        "cut.jpg": (jpeg.getvalue()[:-20], Reason.DECODE_FAILED),
        "cut.png": (png.getvalue()[:-20], Reason.DECODE_FAILED),
        "flipped.png": (bytes(flipped), Reason.DECODE_FAILED),
        "lying.png": (bytes(lying), Reason.TOO_LARGE),
        "x.gif": (b"GIF89a" + bytes(20), Reason.NOT_AN_IMAGE),
        "x.gz": (b"\x1f\x8b" + bytes(20), Reason.NOT_AN_IMAGE),
    }
    for name, (content, reason) in cases.items():
        (tmp_path / name).write_bytes(content)
        assert reason_of(tmp_path / name) is reason, name


@pytest.mark.shared
def test_real_radiographs_equal_pillow(shared):
    for path in sorted((shared / "covid_cxr/images").iterdir())[:40]:
        want = np.asarray(Pillow.open(path).convert("L"), np.float32)
        np.testing.assert_array_equal(read_image(path, window=None).array[0], want)
