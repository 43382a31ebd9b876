"""What drafts make up and what they leave out, a report; and how often they state just the findings that are there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Sized
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medmm.errors import UsageError
from medmm.metrics.finding_scores import Findings, Floats, check_pairs
from medmm.reports.labelers import Labeler
from medmm.types import Status

NOT_FINDINGS = frozenset(("no_finding",))
"""Names that say that there is no finding; they are neither made up nor left out."""
_SAID = (Status.PRESENT, Status.UNCERTAIN)
Along = Mapping[str, Collection[str]]
"""Each finding's name to those of wider ones that are read along with it, such as rib fracture to fracture."""


@dataclass(frozen=True)
class FindingErrors:
    """Errors of each draft.

    Attributes:
        hallucinated: ``[n]`` findings that the draft calls present and of which the truth says neither present nor
            uncertain.
        omitted: ``[n]`` findings that are present in truth and that the draft calls neither present nor uncertain.
        exact: ``[n]`` 1 where the findings called present are the same, none on both sides included; else 0.

    A finding that is read along with a narrower one does not count beside it.
    """

    hallucinated: Floats
    omitted: Floats
    exact: Floats

    def scores(self, weights: npt.ArrayLike | None = None) -> dict[str, Floats]:
        """Means over studies.

        Args:
            weights: ``[n]`` or ``[resamples, n]``: how often each study counts; None counts each once.

        Returns:
            ``hallucinated_per_report`` and ``omitted_per_report`` (findings, at least 0) and ``exact_match`` in
            [0, 1], each ``[]`` or ``[resamples]``.
        """
        return {
            "hallucinated_per_report": weighted_mean(self.hallucinated, weights),
            "omitted_per_report": weighted_mean(self.omitted, weights),
            "exact_match": weighted_mean(self.exact, weights),
        }


def finding_errors(
    truth: Sequence[Findings],
    drafted: Sequence[Findings],
    names: Collection[str] | None = None,
    along: Along | None = None,
) -> FindingErrors:
    """Count what drafts make up and leave out.

    Args:
        truth: Each study's findings.
        drafted: Each study's findings read from its draft, in the same order.
        names: Findings to look at; None looks at all but ``NOT_FINDINGS``.
        along: As :func:`along_with` gives them; None has every name stand for itself.

    Raises:
        UsageError: The two differ in number, or are empty.
    """
    check_pairs(truth, drafted)
    wanted, along = None if names is None else frozenset(names), along or {}
    rows = []
    for there, said in zip(truth, drafted, strict=True):
        present, drafted_present = (
            named - _wider(named, along) for named in (_named(one, wanted, _SAID[:1]) for one in (there, said))
        )
        known, mentioned = (
            named | _wider(named, along) for named in (_named(one, wanted, _SAID) for one in (there, said))
        )
        made_up, left_out = drafted_present - known, present - mentioned
        rows.append((len(made_up), len(left_out), present == drafted_present))
    return FindingErrors(*np.array(rows, np.float64).T)


def along_with(labeler: Labeler) -> dict[str, frozenset[str]]:
    """Ask a labeler which findings it reads along with others: those that it reads in the other's own name.

    Returns:
        Name to wider names, such as ``rib_fracture`` to ``fracture``; findings that are read alone have no entry, nor
        have those that the labeler does not read in their own names.
    """
    names = [name for name in labeler.findings if name not in NOT_FINDINGS]
    read = labeler.label_all([name.replace("_", " ") for name in names])
    found = {name: _named(one, None, _SAID[:1]) for name, one in zip(names, read, strict=True)}
    return {name: others - {name} for name, others in found.items() if name in others and len(others) > 1}


def prior_references(drafts: Sequence[str], references: Callable[[str], Sized]) -> Floats:
    """Which drafts speak of an earlier study: ``[n]``, 1 or 0. Their mean is the prior-reference rate.

    A model that sees no earlier study invents every one of them (Ramesh, Chi and Rajpurkar, ML4H 2022).

    Args:
        drafts: Each study's draft; an empty one speaks of nothing.
        references: Gives the places of a text that refer to an earlier study, such as
            ``medmm.reports.priors.references``.

    Raises:
        UsageError: There is no draft.
    """
    if not drafts:
        raise UsageError("a prior-reference rate needs drafts", got="none")
    return np.array([float(len(references(draft)) > 0) if draft.strip() else 0.0 for draft in drafts])


def weighted_mean(values: Floats, weights: npt.ArrayLike | None = None) -> Floats:
    """Mean of ``[n]`` values; ``[resamples]`` for weights ``[resamples, n]``; 0 where all weights are 0."""
    if weights is None:
        return np.asarray(values.mean())
    shares = np.asarray(weights, np.float64)
    total = np.asarray(shares.sum(-1))
    return np.divide(shares @ values, total, out=np.zeros_like(total), where=total > 0)


def _wider(names: Collection[str], along: Along) -> frozenset[str]:
    return frozenset(wider for name in names for wider in along.get(name, ()))


def _named(findings: Findings, names: Collection[str] | None, status: Collection[Status]) -> frozenset[str]:
    return frozenset(
        name
        for name, finding in findings.items()
        if finding.status in status and (name not in NOT_FINDINGS if names is None else name in names)
    )
