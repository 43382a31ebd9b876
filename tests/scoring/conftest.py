"""A world small enough to work out by hand: the grey level of an image is the number of what the model drafts."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medmm.config.schema import Config
from medmm.reports.findings import label_report
from medmm.reports.parse import parse_report
from medmm.types import Finding, ImageRef, Prediction, Status, Study

SIZE = 64
STEP = 10  # grey levels between two drafts


class GreyModel:
    """Drafts ``drafts[level // STEP]`` from the grey level of a study's first view, and from nothing else."""

    def __init__(self, drafts, config=None, provenance=None):
        self.drafts = drafts
        self.config = config or Config()
        self.preprocess_hash = "p" * 64
        self.provenance = {"weights_sha256": "w" * 64, **(provenance or {})}
        self.batches = []

    def predict_batch(self, images, view_mask, study_ids):
        assert images.dtype == np.float32
        assert images.shape[:2] == view_mask.shape
        assert view_mask.any(axis=1).all()
        self.batches.append(len(study_ids))
        levels = np.rint(images[:, 0].mean(axis=(1, 2, 3)) * 255).astype(int)
        texts = [self.drafts[level // STEP] for level in levels]
        return [self._prediction(*pair) for pair in zip(study_ids, texts, strict=True)]

    def _prediction(self, study_id, text):
        findings = {**label_report(text), "edema": Finding(Status.UNMENTIONED, probability=0.25)}
        return Prediction(study_id, findings, text, provenance={"weights_sha256": "w" * 64})


def write_grey(path: Path, level: int, noise: int = 0) -> Path:
    """An 8-bit PNG of one grey level; noise swaps values between pixels of other levels and keeps the mean."""
    image = np.full((SIZE, SIZE), level, np.uint8)
    if noise:
        generator = np.random.default_rng(noise)
        half = generator.permutation(SIZE * SIZE)
        flat = image.reshape(-1)
        flat[half[: SIZE * SIZE // 2]] += 3
        flat[half[SIZE * SIZE // 2 :]] -= 3
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


@pytest.fixture
def grey():
    """Writes images: ``grey(path, level)``."""
    return write_grey


@pytest.fixture
def grey_model():
    """The class of models that see grey levels."""
    return GreyModel


@pytest.fixture
def make_study(tmp_path):
    """Makes a study with one image: ``make_study(id, level, text, patient=, split=, findings=)``."""

    def make(study_id, level, text, *, patient=None, split="test", findings=None, noise=0):
        path = write_grey(tmp_path / "images" / f"{study_id}.png", level, noise)
        return Study(
            study_id=study_id,
            patient_key=patient or f"patient-{study_id}",
            images=(ImageRef(path, sop_uid=f"sop-{study_id}"),),
            report=None if text is None else parse_report(text),
            findings=findings or {},
            split=split,
        )

    return make


def write_dicom(path, level, study, *, patient="P1", modality="DX", pixels=True):
    """A radiograph of one grey level, 16 of 64 rows black and white so that the window is the full range."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID, data.PatientID = study, f"{study}.1", patient
    data.Modality, data.PhotometricInterpretation = modality, "MONOCHROME2"
    data.Rows = data.Columns = 64
    data.SamplesPerPixel, data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 1, 8, 8, 7, 0
    data.WindowCenter, data.WindowWidth = 128, 256
    if pixels:
        data.PixelData = np.full((64, 64), level, np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return data.SOPInstanceUID


@pytest.fixture
def dicom():
    """Writes DICOM files: ``dicom(path, level, study)`` gives the SOP Instance UID."""
    return write_dicom


@pytest.fixture
def pictures(tmp_path):
    """Seven pictures in two folders; a grey model drafts its n-th text of picture n."""
    for number in range(7):
        write_grey(tmp_path / "in" / ("a" if number < 4 else "b") / f"{number}.png", number * STEP)
    return tmp_path / "in"
