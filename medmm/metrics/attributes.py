"""Whether drafts put findings where they are and grade them as they are: side, zone and severity.

Only findings that truth and draft both call present are looked at, and of these only those whose attribute both state
are compared; how often one side is silent is counted beside it. Agreement that chance alone would give is taken out by
Cohen's kappa (Educational and Psychological Measurement 1960); for severity, whose grades have an order, also with
linear weights (Cohen, Psychological Bulletin 1968).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from medmm.errors import UsageError
from medmm.metrics.finding_scores import Findings, Floats, check_pairs
from medmm.types import Laterality, Severity, Status, Zone

ATTRIBUTES: Mapping[str, type[StrEnum]] = {"laterality": Laterality, "zone": Zone, "severity": Severity}
"""Attributes of a finding that can be compared, and their values; those of ``severity`` are in order."""


@dataclass(frozen=True)
class AttributeAgreement:
    """How truth and draft agree on one attribute.

    Attributes:
        attribute: ``laterality``, ``zone`` or ``severity``.
        values: Names of the values, in the order of ``table``.
        table: ``[n, values + 1, values + 1]`` pairs of a study by what the truth and what the draft state; the last
            row and column stand for silence.
    """

    attribute: str
    values: tuple[str, ...]
    table: Floats

    @property
    def both_present(self) -> int:
        """Findings that both call present."""
        return int(self.table.sum())

    @property
    def compared(self) -> int:
        """Findings that both call present and whose attribute both state."""
        return int(self.table[:, :-1, :-1].sum())

    @property
    def draft_silent(self) -> int:
        """Findings whose attribute the truth states and the draft does not."""
        return int(self.table[:, :-1, -1].sum())

    @property
    def truth_silent(self) -> int:
        """Findings whose attribute the draft states and the truth does not."""
        return int(self.table[:, -1, :-1].sum())

    def scores(self, weights: npt.ArrayLike | None = None) -> dict[str, Floats]:
        """Agreement and kappas.

        Args:
            weights: ``[n]`` or ``[resamples, n]``: how often each study counts; None counts each once.

        Returns:
            ``ATTRIBUTE_agreement`` in [0, 1] and ``ATTRIBUTE_kappa`` in [-1, 1], for severity also
            ``severity_kappa_linear``, each ``[]`` or ``[resamples]``. Nothing where nothing is compared. In a resample
            without any pair the agreement is 0; a kappa is 0 where chance alone would agree always.
        """
        if not self.compared:
            return {}
        stated = self.table[:, :-1, :-1]
        shares = np.ones(len(stated)) if weights is None else np.asarray(weights, np.float64)
        joint = np.tensordot(shares, stated, axes=(-1, 0))
        total = joint.sum((-2, -1))
        joint = np.divide(joint, total[..., None, None], out=np.zeros_like(joint), where=total[..., None, None] > 0)
        scores = {f"{self.attribute}_agreement": np.trace(joint, axis1=-2, axis2=-1)}
        steps = np.abs(np.subtract.outer(np.arange(len(self.values)), np.arange(len(self.values))))
        scores[f"{self.attribute}_kappa"] = _kappa(joint, (steps > 0).astype(np.float64))
        if self.attribute == "severity":
            scores["severity_kappa_linear"] = _kappa(joint, steps.astype(np.float64))
        return scores


def attribute_agreement(
    truth: Sequence[Findings],
    drafted: Sequence[Findings],
    attribute: str,
    names: Collection[str] | None = None,
) -> AttributeAgreement:
    """Compare one attribute of the findings that both call present.

    Args:
        truth: Each study's findings.
        drafted: Each study's findings read from its draft, in the same order.
        attribute: One of ``ATTRIBUTES``.
        names: Findings to look at; None looks at all.

    Raises:
        UsageError: The two differ in number or are empty, or there is no such attribute.
    """
    check_pairs(truth, drafted)
    if attribute not in ATTRIBUTES:
        raise UsageError("no attribute of that name", got=f"'{attribute}'", expected=" | ".join(ATTRIBUTES))
    values = tuple(str(value) for value in ATTRIBUTES[attribute])
    place = {value: at for at, value in enumerate(values)}
    table = np.zeros((len(truth), len(values) + 1, len(values) + 1))
    for row, (there, said) in enumerate(zip(truth, drafted, strict=True)):
        for name in there.keys() & said.keys() if names is None else there.keys() & said.keys() & set(names):
            if there[name].status is Status.PRESENT and said[name].status is Status.PRESENT:
                pair = [place.get(getattr(one[name], attribute), len(values)) for one in (there, said)]
                table[row, pair[0], pair[1]] += 1
    return AttributeAgreement(attribute, values, table)


def _kappa(joint: Floats, disagreement: Floats) -> Floats:
    """``1 - observed / expected`` disagreement."""
    observed = (joint * disagreement).sum((-2, -1))
    expected = (joint.sum(-1)[..., :, None] * joint.sum(-2)[..., None, :] * disagreement).sum((-2, -1))
    return np.where(
        expected > 0, 1 - np.divide(observed, expected, out=np.ones_like(observed), where=expected > 0), 0.0
    )
