"""What every test shares: nothing of a test run reaches the user's own cache, secret or tracking store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from medmm.config.schema import Config

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
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
