"""A world small enough to work out by hand: the grey level of an image is the number of what the model drafts."""

from pathlib import Path

import cv2
import numpy as np
import pytest

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
        self.provenance = {"weights_hash": "w" * 64, **(provenance or {})}
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
        return Prediction(study_id, findings, text, provenance={"weights_hash": "w" * 64})


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
