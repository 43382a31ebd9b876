"""The doors that a hospital's files come in by, each as a program: ``python doors.py DOOR IN OUT``.

``headers`` reads each header, ``volumes`` each folder below IN, both in this process; ``score`` runs the scoring
engine with a model that always says the same. The first two write what came of each file, and how long it took, as
lines of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from medmm.errors import DataError, ImageError


def files_in(folder: Path) -> list[Path]:
    """Everything below a folder that is no folder."""
    return sorted(Path(place, name) for place, _, names in os.walk(folder) for name in names)


def headers(source: Path, out: Path) -> None:
    """Read the header of every file."""
    from medmm.io.header import read_header

    _tell(files_in(source), read_header, out)


def volumes(source: Path, out: Path) -> None:
    """Read every folder as one of slices."""
    import medmm

    _tell(sorted(source.iterdir()), lambda path: medmm.read_volumes(path, size=64), out)


def _tell(paths: list[Path], read: Any, out: Path) -> None:
    with (out / "told.jsonl").open("w") as file:
        for path in paths:
            started = time.monotonic()
            try:
                read(path)
                reason, detail = "read", ""
            except ImageError as error:
                reason, detail = str(error.reason), str(error)
            except DataError as error:
                reason, detail = "no_data", str(error)
            seconds = time.monotonic() - started
            file.write(json.dumps([str(path), reason, detail, seconds]) + "\n")


class Parrot:
    """A model that says the same of every study."""

    def __init__(self) -> None:
        from medmm.config.schema import Config

        self.config = Config.model_validate({"preprocess": {"size": 64}, "score": {"workers": 2}})
        self.preprocess_hash = "p" * 64
        self.provenance = {"weights_sha256": "w" * 64}

    def predict_batch(self, images: Any, view_mask: Any, study_ids: Any) -> list[Any]:
        """One draft a study."""
        from medmm.types import Prediction

        return [Prediction(one, {}, "No change.", provenance=self.provenance) for one in study_ids]


def score(source: Path, out: Path) -> None:
    """Score a folder."""
    from medmm.scoring import sources
    from medmm.scoring.engine import score_listing

    model = Parrot()
    score_listing(sources.list_files(source), model, out / "scored", model.config)  # type: ignore[arg-type]


if __name__ == "__main__":
    {"headers": headers, "volumes": volumes, "score": score}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
