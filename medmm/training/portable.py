"""A run without its patients: what may leave the run directory, for MLflow and for other hospitals."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medmm.config.load import to_yaml
from medmm.config.privacy import without_places
from medmm.config.schema import DataConfig
from medmm.io.atomic import write_json
from medmm.models.settings import forget_places
from medmm.training.provenance import RECORD
from medmm.training.records import read_config
from medmm.training.served import SIGNATURE, signature


@contextmanager
def portable(run: Path) -> Iterator[Path]:
    """Copy weights, config and record into a folder that is gone afterwards; :func:`medmm.load` reads it.

    ``signature.json`` lies beside them: what the model takes and gives, as :func:`medmm.training.served.signature`.

    Left behind are the manifest (reports), the cache (images), the states, and of the config the data section (paths),
    the address of the tracking store (it may hold a password) and the folder of the language model.
    """
    with tempfile.TemporaryDirectory(prefix="medmm-portable-") as place:
        folder = Path(place) / "run"
        shutil.copytree(run / "model", folder / "model")
        forget_places(folder / "model")
        shutil.copy(run / RECORD, folder / RECORD)
        config = without_places(read_config(run))
        bare = config.model_copy(update={"data": DataConfig(splits=config.data.splits)})
        (folder / "config.yaml").write_text(to_yaml(bare), encoding="utf-8")
        write_json(folder / SIGNATURE, signature(config.registered))
        yield folder
