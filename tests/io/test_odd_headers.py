"""Headers that contradict themselves, each of which once ended a whole run."""

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

import medmm
from medmm.config.schema import PreprocessConfig
from medmm.data import decoding
from medmm.errors import ImageError, Reason


def written(path, pixels, photometric, samples=1, **tags):
    """A DICOM file of 8 or 32 bits without any other thing odd about it."""
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SOPClassUID, one.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", generate_uid()
    one.Rows, one.Columns, one.SamplesPerPixel = *pixels.shape[:2], samples
    one.PhotometricInterpretation, one.PixelRepresentation, one.PlanarConfiguration = photometric, 0, 0
    one.BitsAllocated = one.BitsStored = pixels.dtype.itemsize * 8
    one.HighBit = one.BitsStored - 1
    one.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    for name, value in tags.items():
        setattr(one, name, value)
    one.save_as(path, enforce_file_format=True)
    return path


def test_samples_of_half_a_pair_are_refused(tmp_path):
    path = written(tmp_path / "a.dcm", np.zeros((3, 3, 2), np.uint8), "YBR_FULL_422", 3)
    with pytest.raises(ImageError, match="4:2:2") as refused:
        medmm.read_image(path)
    assert refused.value.reason is Reason.HEADER_INVALID


def test_a_palette_of_three_samples_is_refused(tmp_path):
    path = written(tmp_path / "a.dcm", np.zeros((4, 4, 3), np.uint8), "PALETTE COLOR", 3)
    with pytest.raises(ImageError, match="palette"):
        medmm.read_image(path)


def test_a_table_reaches_no_farther_than_its_entries(tmp_path):
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [4, 0, 8], np.array([0, 10, 20, 30], np.uint16).tobytes()
    table.ModalityLUTType = "US"
    pixels = np.array([[0, 1], [2, 2**32 - 1]], np.uint32)
    path = written(tmp_path / "a.dcm", pixels, "MONOCHROME2", ModalityLUTSequence=[table])
    shown = medmm.read_image(path).array[0]
    np.testing.assert_allclose(shown, [[0, 1 / 3], [2 / 3, 1]], atol=1e-6)


def test_a_bug_costs_one_image_and_not_the_run(tmp_path, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(decoding, "read_stored", broken)
    outcome = decoding.attempt(decoding.Job(tmp_path / "a.png", tmp_path / "rows", 0), PreprocessConfig())
    assert outcome.reason is Reason.DECODE_FAILED
    assert "ZeroDivisionError" in outcome.detail
    assert "secret" not in outcome.detail


def test_samples_begin_behind_the_header_where_no_place_is_said(tmp_path):
    import nibabel

    path = tmp_path / "a.nii"
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    content = bytearray(path.read_bytes())
    content[108:112] = b"\0\0\0\0"  # vox_offset
    lying = tmp_path / "b.nii"
    lying.write_bytes(content)
    said = medmm.read_image(path, window=None).array
    np.testing.assert_array_equal(medmm.read_image(lying, window=None).array, said)
