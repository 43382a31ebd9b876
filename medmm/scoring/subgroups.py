"""Figures of patients of one sex, age band, view or device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from medmm.config.schema import Config
from medmm.metrics import bootstrap
from medmm.scoring.figures import Measure
from medmm.scoring.markdown import Table, interval, number
from medmm.types import Study

Subgroups = dict[str, dict[str, dict[str, Any]]]
"""Group and value of it to numbers of ``studies`` and ``patients``, and figures with ``value`` and ``ci95``."""
_LEAST = 20
"""Studies of a subgroup worth a row."""
_RESAMPLES = 200


class Grouped(Protocol):
    """A sample that belongs to groups."""

    @property
    def study_id(self) -> str:
        """The study."""

    @property
    def patient_key(self) -> str:
        """The patient."""

    @property
    def groups(self) -> dict[str, str]:
        """Sex, age band, view and device, where known."""


def groups_of(study: Study) -> dict[str, str]:
    """Sex, age band, device and the first view of a study, where known."""
    found = {
        "sex": study.sex, "age_band": study.age_band, "device": study.device,
        "view": next((image.view for image in study.images if image.view), None),
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}


def by_subgroup(
    samples: Sequence[Grouped],
    measure: Callable[[npt.NDArray[np.intp]], Measure],
    names: Sequence[str],
    config: Config,
) -> Subgroups:
    """Figures of each subgroup of 20 studies or more, each with its interval; of a group with one value, none.

    Args:
        samples: All samples; a study may have several.
        measure: From places of samples to what measures them.
        names: The figures.
        config: Seed, and resamples of patients, 200 at most.
    """
    places: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place, sample in enumerate(samples):
        for name, value in sample.groups.items():
            places[name][value].append(place)
    found: Subgroups = {}
    for name, groups in places.items():
        for value, rows in sorted(groups.items()):
            if len(groups) > 1 and len({samples[row].study_id for row in rows}) >= _LEAST:
                own = [samples[row] for row in rows]
                found.setdefault(name, {})[value] = _figures(own, measure(np.array(rows)), names, config)
    return found


def _figures(samples: Sequence[Grouped], measure: Measure, names: Sequence[str], config: Config) -> dict[str, Any]:
    figures, patients = measure.scores(), [one.patient_key for one in samples]
    drawn: Mapping[str, npt.NDArray[np.float64]] = {}
    if config.evaluate.bootstrap:
        drawn = bootstrap.replicates(measure.scores, patients, min(_RESAMPLES, config.evaluate.bootstrap), config.seed)
    said: dict[str, Any] = {"studies": len({one.study_id for one in samples}), "patients": len(set(patients))}
    for name in names:
        if name in figures:
            entry: dict[str, Any] = {"value": float(np.ravel(figures[name])[0])}
            kept = drawn[name][np.isfinite(drawn[name])] if name in drawn else np.empty(0)
            if len(kept):
                entry["ci95"] = list(bootstrap.percentiles(kept))
            said[name] = entry
    return said


def subgroup_table(found: Subgroups, names: Sequence[str]) -> Table:
    """The subgroups as a table."""
    rows: list[tuple[str, ...]] = []
    for group, values in found.items():
        for value, said in values.items():
            cells = []
            for name in names:
                entry = said.get(name)
                cells.append("–" if entry is None else f"{number(entry['value'])} ({interval(entry.get('ci95'))})")
            rows.append((f"{group}: {value}", str(said["studies"]), *cells))
    return "Subgroups", ("group", "studies", *names), rows
