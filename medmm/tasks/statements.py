"""Reports as sentences with what each says, and texts drawn from them while learning.

Shape legend: B studies, S sentences of a report, F findings, T words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medmm.config.pretraining import PretrainConfig
from medmm.config.schema import TargetConfig
from medmm.data.dataset import Batch
from medmm.models.heads import SIDES
from medmm.models.tokenizer import ReportTokenizer
from medmm.reports.findings import RuleLabeler
from medmm.reports.priors import without_priors
from medmm.reports.sentences import split_sentences
from medmm.tasks.losses import NO_SIDE
from medmm.types import Finding, Report, Status, TextPart

UNKNOWN, ABSENT, PRESENT = 0, 1, 2
"""What a sentence says of a finding: nothing, or nothing sure; that it is absent; that it is present."""
PADDING = {"words": -1, "lengths": 0, "sections": -1, "said": UNKNOWN, "sides": NO_SIDE}
"""Targets of differing length, and what fills them up."""
_SAID = {Status.PRESENT: PRESENT, Status.ABSENT: ABSENT}
_MOST_EXCERPT = 3  # sentences


@dataclass(frozen=True)
class Statement:
    """A sentence, which section it is of, and what it says of each finding."""

    text: str
    section: int
    labels: Mapping[str, Finding]


@dataclass(frozen=True)
class Texts:
    """A text a study.

    Attributes:
        ids_bt: ``[B, T]`` int64 token ids.
        mask_bt: ``[B, T]`` bool, False for padding.
        said_bf: ``[B, F]`` what it says of a finding.
        side_bf: ``[B, F]`` which side, ``NO_SIDE`` where none.
        whole_b: ``[B]`` bool, whether it is the whole report, and nothing of it was cut.
    """

    ids_bt: Tensor
    mask_bt: Tensor
    said_bf: Tensor
    side_bf: Tensor
    whole_b: Tensor


def statements(report: Report, target: TargetConfig, labeler: RuleLabeler) -> list[Statement]:
    """The sentences of :func:`target_sentences` with what each says."""
    return [Statement(text, section, labeler.label(text)) for section, text in target_sentences(report, target)]


def target_sentences(report: Report, target: TargetConfig) -> list[tuple[int, str]]:
    """The sentences of a report's target sections, each with its section's place among ``target.sections``.

    Of all of the report where it has no sections and ``target.whole_text`` allows it.
    """
    parts = [(place, one) for place, name in enumerate(target.sections)
             for one in report.sentences if one.section == name]  # fmt: skip
    if not report.sections and target.whole_text:
        parts = [(0, one) for one in split_sentences(TextPart(report.raw, 0, len(report.raw)))]
    found: list[tuple[int, str]] = []
    met: set[tuple[int, int]] = set()
    for section, part in parts:
        if (part.start, part.end) in met:  # a merged section is two of one text
            continue
        met.add((part.start, part.end))
        text = without_priors(part.text, report.language) if target.without_priors else part.text
        text = " ".join(text.split())
        if text:
            found.append((section, text))
    return found


def statement_targets(
    said: Sequence[Statement], names: Sequence[str], tokenizer: ReportTokenizer, longest: int
) -> tuple[dict[str, npt.NDArray[np.int64]], bool]:
    """Targets of one report: words of all sentences one behind the other, and what each says; whether it was cut."""
    words, lengths, sections = [], [], []
    said_sf = np.full((len(said), len(names)), UNKNOWN, np.int64)
    side_sf = np.full((len(said), len(names)), NO_SIDE, np.int64)
    for row, one in enumerate(said):
        ids = tokenizer.encode(one.text, longest - 1)[0][:-1]  # begin and end stand around them
        words.append(ids)
        lengths.append(len(ids))
        sections.append(one.section)
        for column, name in enumerate(names):
            finding = one.labels.get(name)
            if finding is not None:
                said_sf[row, column] = _SAID.get(finding.status, UNKNOWN)
                side = finding.laterality if finding.status is Status.PRESENT else None
                side_sf[row, column] = NO_SIDE if side is None else SIDES.index(side)
    whole, whole_side = joined(said_sf[None], side_sf[None])
    targets = {
        "words": np.concatenate(words), "lengths": np.array(lengths, np.int64),
        "sections": np.array(sections, np.int64), "said": said_sf.ravel(), "sides": side_sf.ravel(),
        "shown": whole[0], "shown_side": whole_side[0],
    }  # fmt: skip
    return targets, sum(lengths) > longest - 2


def joined(
    said_bsf: npt.NDArray[np.int64], side_bsf: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """What sentences say together, ``[B, F]``: present wins over absent, and the first side that is said counts."""
    whole = said_bsf.max(1)
    first = np.argmax(side_bsf != NO_SIDE, axis=1)
    side = np.take_along_axis(side_bsf, first[:, None], axis=1)[:, 0]
    return whole, np.where(whole == PRESENT, side, NO_SIDE)


def drawn(batch: Batch, findings: int, tokenizer: ReportTokenizer, config: PretrainConfig, longest: int) -> Texts:
    """Draw a text of each study by torch's generator: the report, a section of it or a few of its sentences."""
    lengths = batch.targets["lengths"].cpu()
    sections = batch.targets["sections"].cpu()
    kinds, picks = torch.rand(len(lengths)).tolist(), torch.rand(len(lengths)).tolist()
    order = torch.rand(lengths.shape)
    chosen, whole = [], []
    for row, kind in enumerate(kinds):
        places = torch.nonzero(lengths[row]).squeeze(1)
        some = places
        if kind < config.excerpt:
            count = 1 + int(picks[row] * _MOST_EXCERPT)
            some = places[order[row, places].argsort()[:count]]
        elif kind < config.excerpt + config.one_section:
            have = sections[row, places].unique()
            some = places[sections[row, places] == have[int(picks[row] * len(have))]]
        if config.shuffle:
            some = some[order[row, some].argsort()]
        chosen.append(some.sort().values if not config.shuffle else some)
        whole.append(len(some) == len(places))
    return _texts(batch, chosen, whole, findings, tokenizer, longest)


def unchanged(batch: Batch, findings: int, tokenizer: ReportTokenizer, longest: int) -> Texts:
    """The whole report of each study."""
    lengths = batch.targets["lengths"].cpu()
    chosen = [torch.nonzero(row).squeeze(1) for row in lengths]
    return _texts(batch, chosen, [True] * len(chosen), findings, tokenizer, longest)


def _texts(
    batch: Batch,
    chosen: Sequence[Tensor],
    whole: Sequence[bool],
    findings: int,
    tokenizer: ReportTokenizer,
    longest: int,
) -> Texts:
    words, lengths = batch.targets["words"].cpu().numpy(), batch.targets["lengths"].cpu().numpy()
    starts = np.cumsum(lengths, axis=1) - lengths
    shape = (*lengths.shape, findings)
    said, side = (batch.targets[name].cpu().numpy().reshape(shape) for name in ("said", "sides"))
    rows, stated, complete = [], [], []
    for row, places in enumerate(chosen):
        at = places.numpy()
        fits = np.cumsum(lengths[row, at]) <= longest - 2
        complete.append(whole[row] and bool(fits.all()))
        at = at[fits]  # what was cut off is not said
        pieces = [words[row, starts[row, one] : starts[row, one] + lengths[row, one]] for one in at]
        rows.append(np.concatenate([[tokenizer.begin], *pieces]))
        stated.append(joined(said[row][None, at], side[row][None, at]))
    ids, mask = padded([[*row, tokenizer.end] for row in rows], tokenizer.pad)
    device = batch.images.device
    texts = (ids, mask, np.concatenate([one[0] for one in stated]), np.concatenate([one[1] for one in stated]))
    return Texts(*(torch.as_tensor(one).to(device) for one in (*texts, np.array(complete))))


def padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Ids ``[B, T]``, filled up at the right, and which of them are there."""
    longest = max(len(row) for row in rows)
    ids = np.full((len(rows), longest), pad, np.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
    return ids, np.arange(longest)[None] < np.array([len(row) for row in rows])[:, None]
