"""Windows, tables, padding and inversion against values computed by hand from PS3.3 C.11."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_voi_lut
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medmm import read_image
from medmm.errors import ImageError, Reason
from medmm.io.greyscale import Table, Window


def shown(path, **keywords):
    return read_image(path, **keywords).array[0]


def lut(first, entries, bits):
    item = Dataset()
    item.add_new(0x00283002, "US", [len(entries), first, bits])
    item.add_new(0x00283006, "US", list(entries))
    return item


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("LINEAR", [0.0, 0.0, 0.5, 1.0]),
        ("LINEAR_EXACT", [0.0, 0.0, 0.5, 1.0]),
    ],
)
def test_window_by_hand(function, expected):
    """Center 50, width 10: LINEAR runs from 45 to 54, where 49.5 is the middle; LINEAR_EXACT from 45 to 55."""
    middle = 49.5 if function == "LINEAR" else 50
    values = np.array([0, 45, middle, 60], np.float32)
    np.testing.assert_allclose(Window(50, 10, function).apply(values), expected, atol=1e-6)


def test_sigmoid_by_hand():
    values = np.array([50, 52.5, 47.5, 1e9], np.float32)
    got = Window(50, 10, "SIGMOID").apply(values)
    np.testing.assert_allclose(got, [0.5, 1 / (1 + np.e**-1), 1 / (1 + np.e), 1], rtol=1e-6)


def test_window_of_width_one_is_a_threshold():
    np.testing.assert_array_equal(Window(10, 1).apply(np.array([9.4, 9.5, 9.6, 10], np.float32)), [0, 0, 1, 1])


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_window_equals_pydicom(write_dicom, function):
    pixels = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    path = write_dicom(pixels, BitsStored=12, HighBit=11, WindowCenter=1500, WindowWidth=900, VOILUTFunction=function)
    want = apply_voi_lut(pixels, pydicom.dcmread(path)) / 4095
    np.testing.assert_allclose(shown(path), want, atol=2e-6)


def test_the_first_of_several_windows(write_dicom):
    pixels = np.array([[0, 45], [54, 100]], np.uint8)
    image = read_image(write_dicom(pixels, WindowCenter=[50, 500], WindowWidth=[10, 900]))
    np.testing.assert_allclose(image.array[0], [[0, 0], [1, 1]], atol=1e-6)
    assert image.header["window"] == {"function": "LINEAR", "center": 50.0, "width": 10.0}


def test_what_the_header_offers_to_choose_from(write_dicom):
    pixels = np.array([[0, 45], [54, 100]], np.uint8)
    table = lut(0, range(256), 8)
    table.LUTExplanation = "hard"
    path = write_dicom(pixels, VOILUTSequence=[table], WindowCenter=[50, 500, 7], WindowWidth=[10, 900, -1],
                       WindowCenterWidthExplanation=["SOFT", "LUNG", "X"], VOILUTFunction="SIGMOID")  # fmt: skip
    assert read_image(path).header["windows"] == (
        {"function": "LUT", "name": "hard"},
        {"function": "SIGMOID", "center": 50.0, "width": 10.0, "name": "SOFT"},
        {"function": "SIGMOID", "center": 500.0, "width": 900.0, "name": "LUNG"},
    )
    assert read_image(write_dicom(pixels)).header["windows"] == ()


def test_rescale_then_window(write_dicom):
    pixels = np.array([[0, 1024], [1064, 1200]], np.uint16)
    path = write_dicom(pixels, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=40.5, WindowWidth=81)
    np.testing.assert_array_equal(shown(path, window=None), [[-1024, 0], [40, 176]])
    np.testing.assert_allclose(shown(path), [[0, 0], [0.5, 1]], atol=1e-6)


def test_monochrome1_is_inverted_once(write_dicom):
    pixels = np.array([[0, 50], [100, 200]], np.uint8)
    plain = [[0, 0.25], [0.5, 1]]
    np.testing.assert_allclose(shown(write_dicom(pixels)), plain, atol=1e-6)
    for elements in (
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PresentationLUTShape": "INVERSE"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
    ):
        path = write_dicom(pixels, **elements)
        np.testing.assert_allclose(shown(path), 1 - np.array(plain), atol=1e-6)
        np.testing.assert_array_equal(shown(path, window=None), pixels)


def test_a_shape_goes_before_monochrome1_that_contradicts_it(write_dicom):
    """As dcmtk and highdicom have it."""
    contradiction = {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "IDENTITY"}
    path = write_dicom(np.array([[0, 50], [100, 200]], np.uint8), **contradiction)
    np.testing.assert_allclose(shown(path), [[0, 0.25], [0.5, 1]], atol=1e-6)
    assert "contradicts" in read_image(path).notes[0]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_constant_image_is_black(write_dicom, photometric):
    path = write_dicom(np.full((4, 5), 700, np.uint16), PhotometricInterpretation=photometric)
    np.testing.assert_array_equal(shown(path), np.zeros((4, 5)))
    np.testing.assert_array_equal(shown(path, size=8), np.zeros((8, 8)))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_left_out_of_the_range_and_black(write_dicom, photometric):
    pixels = np.array([[-2000, 100], [200, 300]], np.int16)
    path = write_dicom(pixels, PhotometricInterpretation=photometric, PixelPaddingValue=-2000)
    grey = [[0, 0], [0.5, 1]] if photometric == "MONOCHROME2" else [[0, 1], [0.5, 0]]
    np.testing.assert_allclose(shown(path), grey, atol=1e-6)
    assert shown(path, window=None)[0, 0] == -2000


def test_padding_range_and_an_image_of_padding_only(write_dicom):
    pixels = np.array([[0, 5], [10, 20]], np.uint8)
    path = write_dicom(pixels, PixelPaddingValue=0, PixelPaddingRangeLimit=5)
    np.testing.assert_allclose(shown(path), [[0, 0], [0, 1]], atol=1e-6)
    path = write_dicom(pixels, PixelPaddingValue=0, PixelPaddingRangeLimit=99)
    np.testing.assert_array_equal(shown(path), np.zeros((2, 2)))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize(("kind", "value", "limit"), [(np.int16, -2000, -1900), (np.uint16, 63536, 63600)])
def test_padding_of_either_sign_and_either_order(write_dicom, syntax, kind, value, limit):
    pixels = np.array([[value, limit], [100, 300]]).astype(kind)
    for ends in ((value, limit), (limit, value)):
        path = write_dicom(pixels, syntax=syntax, PixelPaddingValue=ends[0], PixelPaddingRangeLimit=ends[1])
        np.testing.assert_allclose(shown(path), [[0, 0], [0, 1]], atol=1e-6)


def test_padding_whose_sign_is_written_wrong(write_dicom):
    """The bits of -2000 as the unsigned number 63536, in a file that says US."""
    item = Dataset()
    item.add_new(0x00280120, "US", 63536)
    path = write_dicom(np.array([[-2000, 100], [200, 300]], np.int16))
    dataset = pydicom.dcmread(path)
    dataset["PixelPaddingValue"] = item["PixelPaddingValue"]
    dataset.save_as(path)
    np.testing.assert_allclose(shown(path), [[0, 0], [0.5, 1]], atol=1e-6)


@pytest.mark.parametrize("kind", ["Float", "DoubleFloat"])
def test_padding_of_float_pixels(write_dicom, kind):
    pixels = np.array([[-1e30, -9e29], [0.25, 1.5]], np.float32 if kind == "Float" else np.float64)
    stored = np.zeros((2, 2), np.uint16)
    path = write_dicom(stored, PixelData=None, BitsStored=None, HighBit=None, PixelRepresentation=None,
                       BitsAllocated=8 * pixels.itemsize, **{f"{kind}PixelData": pixels.tobytes(),
                       f"{kind}PixelPaddingValue": -1e30, f"{kind}PixelPaddingRangeLimit": -9e29})  # fmt: skip
    np.testing.assert_allclose(shown(path), [[0, 0], [0, 1]], atol=1e-6)
    np.testing.assert_array_equal(shown(path, window=None), pixels.astype(np.float32))


def test_padding_is_no_part_of_a_window_either(write_dicom):
    """A padding of 4000 would be white in the window."""
    pixels = np.array([[4000, 100], [200, 300]], np.uint16)
    path = write_dicom(pixels, PixelPaddingValue=4000, WindowCenter=200.5, WindowWidth=201)
    np.testing.assert_allclose(shown(path), [[0, 0], [0.5, 1]], atol=1e-6)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_presentation_lut_gives_the_greys_themselves(write_dicom, photometric):
    """Eleven entries for the whole range: 0, 100, ... 1000 of 1023; no inversion is left to do."""
    item = lut(0, range(0, 1001, 100), 10)
    path = write_dicom(np.array([[0, 50], [100, 200]], np.uint8), PhotometricInterpretation=photometric,
                       PresentationLUTSequence=[item])  # fmt: skip
    np.testing.assert_allclose(shown(path), np.array([[0, 250], [500, 1000]]) / 1023, atol=1e-6)
    assert not read_image(path).header["inverted"]


def test_overlays_in_a_group_of_their_own_or_in_unused_bits_are_kept_out(write_dicom):
    values = np.array([[0, 1000], [2000, 4095]], np.uint16)
    dataset = pydicom.dcmread(write_dicom(values | 0x1000, BitsStored=12, HighBit=11))
    embedded = {0x0010: ("US", 2), 0x0011: ("US", 2), 0x0040: ("CS", "G"), 0x0050: ("SS", [1, 1]), 0x0100: ("US", 16),
                0x0102: ("US", 12)}  # fmt: skip
    for number, (vr, value) in embedded.items():
        dataset.add_new(0x60000000 | number, vr, value)
    dataset.add_new(0x60020010, "US", 2)
    dataset.add_new(0x60023000, "OW", b"\x0f\0")
    dataset.save_as(dataset.filename)
    np.testing.assert_array_equal(shown(dataset.filename, window=None), values)
    np.testing.assert_allclose(shown(dataset.filename), values / 4095, atol=1e-6)


def test_modality_lut(write_dicom):
    pixels = np.array([[0, 10], [11, 99]], np.uint8)
    path = write_dicom(pixels, ModalityLUTSequence=[lut(10, [7, 300, 4000], 16)])
    np.testing.assert_array_equal(shown(path, window=None), [[7, 7], [300, 4000]])


def test_voi_lut_goes_before_the_window(write_dicom):
    pixels = np.array([[0, 1], [2, 3]], np.uint8)
    path = write_dicom(pixels, VOILUTSequence=[lut(1, [0, 51, 255], 8)], WindowCenter=1, WindowWidth=2)
    np.testing.assert_allclose(shown(path), [[0, 0], [0.2, 1]], atol=1e-6)


def test_voi_lut_between_entries():
    table = Table(10, np.array([0, 100, 255], np.float32), 8)
    np.testing.assert_allclose(table.display(np.array([9, 10.5, 12, 20], np.float32)), [0, 50 / 255, 1, 1], rtol=1e-6)


def test_a_lut_that_is_too_short_is_refused(write_dicom):
    item = lut(0, [1, 2, 3], 16)
    item[0x00283002].value = [300, 0, 16]
    with pytest.raises(ImageError) as caught:
        read_image(write_dicom(np.zeros((2, 2), np.uint8), ModalityLUTSequence=[item]))
    assert caught.value.reason is Reason.HEADER_INVALID


def test_a_broken_window_gives_the_full_range_and_a_note(write_dicom):
    image = read_image(write_dicom(np.array([[0, 50], [100, 200]], np.uint8), WindowCenter=5, WindowWidth=-3))
    np.testing.assert_allclose(image.array[0], [[0, 0.25], [0.5, 1]], atol=1e-6)
    assert "full range" in " ".join(image.notes)


def test_rescale_of_functional_groups(write_dicom):
    """Each frame its own slope; the window is the first frame's."""

    def group(slope):
        transform, voi, item = Dataset(), Dataset(), Dataset()
        transform.RescaleSlope, transform.RescaleIntercept, transform.RescaleType = slope, 1, "US"
        voi.WindowCenter, voi.WindowWidth = 10, 20
        item.PixelValueTransformationSequence, item.FrameVOILUTSequence = [transform], [voi]
        return item

    path = write_dicom(np.array([[[1, 2]], [[1, 2]]], np.uint16), PerFrameFunctionalGroupsSequence=[group(2), group(3)])
    image = read_image(path, window=None)
    np.testing.assert_array_equal(image.array, [[[[3, 5]], [[4, 7]]]])
    assert read_image(path).header["window"]["center"] == 10


def test_a_sequence_beside_an_element_of_no_known_kind(write_dicom):
    """pydicom looks up the pixel representation when a sequence is kept."""
    path = write_dicom(np.array([[0, 1], [2, 3]], np.uint8), VOILUTSequence=[lut(1, [0, 51, 255], 8)])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\x28\0\x03\x01US", b"\x28\0\x03\x01UW"))
    np.testing.assert_allclose(shown(path), [[0, 0], [0.2, 1]], atol=1e-6)
