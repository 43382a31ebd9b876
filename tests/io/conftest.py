"""DICOM files made on the spot."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, generate_uid

DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"


@pytest.fixture
def write_dicom(tmp_path):
    """Return ``write(pixels, name=..., syntax=..., frames_coded=..., **elements) -> path``."""

    def write(pixels=None, name="image.dcm", syntax=ExplicitVRLittleEndian, coded=None, **elements):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = JPEG2000Lossless if syntax == DEFLATED_FRAMES else syntax
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
        meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset = Dataset()
        dataset.file_meta = meta
        dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        dataset.Modality = "DX"
        if pixels is not None:
            pixels = np.asarray(pixels)
            bits = 8 * pixels.dtype.itemsize
            dataset.Rows, dataset.Columns = pixels.shape[:2] if pixels.shape[-1] == 3 else pixels.shape[-2:]
            if pixels.ndim == 3 and pixels.shape[-1] != 3:
                dataset.NumberOfFrames = len(pixels)
            dataset.SamplesPerPixel = 3 if pixels.shape[-1] == 3 and pixels.ndim == 3 else 1
            dataset.PhotometricInterpretation = "RGB" if dataset.SamplesPerPixel == 3 else "MONOCHROME2"
            if dataset.SamplesPerPixel == 3:
                dataset.PlanarConfiguration = 0
            dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
            dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
            if coded is None:
                order = ">" if syntax == pydicom.uid.ExplicitVRBigEndian else "<"
                dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
            else:
                dataset.PixelData = pydicom.encaps.encapsulate([bytes(frame) for frame in coded])
            dataset["PixelData"].VR = "OW" if bits > 8 and coded is None else "OB"
        for keyword, value in elements.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        path = tmp_path / name
        pydicom.dcmwrite(path, dataset, enforce_file_format=True)
        if syntax == DEFLATED_FRAMES:  # pydicom does not know it; both names take 22 bytes
            path.write_bytes(path.read_bytes().replace(JPEG2000Lossless.encode(), f"{DEFLATED_FRAMES}\0".encode(), 1))
        return path

    return write


@pytest.fixture(scope="session")
def bodies():
    """The module ``bodies.py``: a body that is known everywhere in space."""
    spec = importlib.util.spec_from_file_location("medmm_test_bodies", Path(__file__).with_name("bodies.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
