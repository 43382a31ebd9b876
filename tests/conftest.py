"""What every test shares: nothing of a test run reaches the user's own cache, secret or tracking store."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medmm.config.schema import Config

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SMALL = {
    "preprocess": {"size": 32},
    "model": {
        "encoder": {"width": 32},
        "findings": {"minimum": 2},
        "decoder": {"layers": 1, "width": 32, "heads": 2, "vocabulary": 300, "max_tokens": 32},
        "text": {"layers": 1, "width": 32, "heads": 2, "vocabulary": 300, "max_tokens": 64},
    },
    "pretrain": {"width": 16},
    "prompts": {"minimum": 2},
    "train": {
        "steps": 14, "batch_size": 4, "save_every": 4, "validate_every": 3, "ema": 0.9, "accumulate": 2, "lr": 3e-3,
        "workers": 0,
    },
    "classification": {"minimum": 2},
    "generate": {"max_tokens": 24},
}  # fmt: skip


@pytest.fixture(autouse=True, scope="session")
def _own_places(tmp_path_factory):
    """Send caches, the site secret and MLflow's store to a temporary folder."""
    home = tmp_path_factory.mktemp("home")
    patch = pytest.MonkeyPatch()
    patch.setenv("MEDMM_CACHE", str(home / "cache"))
    patch.setenv("MEDMM_SITE_SECRET", "tests only")
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home / 'mlruns.db'}")
    patch.setenv("HF_HUB_OFFLINE", "1")
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def _own_store():
    """Put the store back that a test has chosen: MLflow hands its choice on in the environment."""
    store = os.environ["MLFLOW_TRACKING_URI"]
    yield
    os.environ["MLFLOW_TRACKING_URI"] = store


def pytest_collection_modifyitems(items):
    """Skip what needs the shared data where it is absent, and GPU tests where there is no GPU."""
    missing = pytest.mark.skip(reason=f"no shared data beside the repository ({SHARED.name} not found)")
    for item in items:
        if "shared" in item.keywords and not SHARED.is_dir():
            item.add_marker(missing)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the real data."""
    return SHARED


@pytest.fixture(scope="session")
def small() -> Config:
    """Settings of a model that trains within seconds."""
    return Config.model_validate(SMALL)


@pytest.fixture
def ct_slices():
    """Return ``make(shape, spacing=..., orientation=..., position=...) -> datasets``, first to last plane."""

    def make(shape, spacing=(2.0, 0.7, 0.9), orientation=(1, 0, 0, 0, 1, 0), position=(-80.0, -120.0, 30.0)):
        depth, rows, columns = shape
        row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
        normal = np.cross(row, column)
        study, series, frame = generate_uid(), generate_uid(), generate_uid()
        found = []
        for index in range(depth):
            dataset = Dataset()
            dataset.file_meta = FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", generate_uid()
            dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = study, series, frame
            dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate, dataset.PatientSex = "P", "P^Q", "", "O"
            dataset.StudyID, dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber = "1", "20010203", "", "A"
            dataset.ReferringPhysicianName, dataset.Manufacturer, dataset.Modality = "", "Maker", "CT"
            dataset.InstanceNumber, dataset.SeriesNumber = index + 1, 1
            dataset.ImageOrientationPatient = [f"{value:.12f}"[:16] for value in orientation]
            place = np.array(position) + index * spacing[0] * normal
            dataset.ImagePositionPatient = [f"{value:.8f}" for value in place]
            dataset.PixelSpacing, dataset.SliceThickness = list(spacing[1:]), spacing[0]
            dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = rows, columns, 1
            dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
            dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
            dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
            dataset.PixelData = np.full((rows, columns), index, np.uint16).tobytes()
            dataset["PixelData"].VR = "OW"
            found.append(dataset)
        return found

    return make
