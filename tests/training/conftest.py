"""Two dozen studies whose picture and report agree: a bright blob is a nodule, on the side where it lies."""

import shutil

import cv2
import numpy as np
import pytest
import yaml

from medmm.config.schema import SplitConfig
from medmm.data import manifest as manifests
from medmm.reports.parse import parse_report
from medmm.training import records
from medmm.training.run import finetune
from medmm.types import ImageRef, Study


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
def trained(manifest, small, tmp_path_factory):
    """A run of three steps; what changes it works on ``run``."""
    out = tmp_path_factory.mktemp("loaded")
    config = small.model_copy(update={"train": small.train.model_copy(update={"steps": 3, "accumulate": 1})})
    records.claim(out, config, resume=False)
    finetune(config, manifest, out)
    return out


@pytest.fixture
def run(trained, tmp_path):
    """A copy of what loading needs."""
    shutil.copytree(trained / "model", tmp_path / "run" / "model")
    for name in ("config.yaml", "run.json"):
        shutil.copy(trained / name, tmp_path / "run" / name)
    return tmp_path / "run"


@pytest.fixture
def edit(run):
    """Change settings of the run's config: ``edit(section, key=value)``."""

    def change(section, **changes):
        config = yaml.safe_load((run / "config.yaml").read_text())
        config[section] |= changes
        (run / "config.yaml").write_text(yaml.safe_dump(config))

    return change
