"""Two dozen studies whose picture and report agree: a bright blob is a nodule, on the side where it lies."""

import cv2
import numpy as np
import pytest

from medmm.config.schema import Config, SplitConfig
from medmm.data import manifest as manifests
from medmm.reports.parse import parse_report
from medmm.types import ImageRef, Study

SMALL = {
    "preprocess": {"size": 32},
    "model": {
        "encoder": {"width": 32},
        "findings": {"minimum": 2},
        "decoder": {"layers": 1, "width": 32, "heads": 2, "vocabulary": 300, "max_tokens": 32},
    },
    "train": {
        "steps": 14, "batch_size": 4, "save_every": 4, "validate_every": 3, "ema": 0.9, "accumulate": 2, "lr": 3e-3,
        "workers": 0,
    },
    "generate": {"max_tokens": 24},
}  # fmt: skip


def study(folder, number):
    generator = np.random.default_rng(number)
    image = generator.normal(0.4, 0.05, (32, 32))
    side = (None, "left", "right")[number % 3]
    y, x = np.mgrid[:32, :32]
    if side:
        image += 0.5 * np.exp(-((x - (24 if side == "left" else 8)) ** 2 + (y - 12) ** 2) / 12)
    path = folder / f"{number}.png"
    cv2.imwrite(str(path), (np.clip(image, 0, 1) * 65535).astype(np.uint16))
    text = f"FINDINGS: There is a {side} lung nodule." if side else "FINDINGS: No lung nodule. The heart is normal."
    text += f" IMPRESSION: {side.capitalize()} nodule." if side else " IMPRESSION: Normal chest."
    return Study(f"study {number}", f"patient {number}", (ImageRef(path=path),), parse_report(text))


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Tiny models gain nothing from a second thread, and wait for it on a busy machine."""
    patch = pytest.MonkeyPatch()
    patch.setenv("OMP_NUM_THREADS", "1")
    yield
    patch.undo()


@pytest.fixture(scope="session")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    studies = [study(folder, number) for number in range(36)]
    manifests.build(studies, folder / "manifest.parquet", SplitConfig(), lambda rejection: None)
    return manifests.Manifest.open(folder / "manifest.parquet")


@pytest.fixture(scope="session")
def small():
    return Config.model_validate(SMALL)
