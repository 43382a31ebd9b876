"""Report generation: the views of a study in, a drafted report out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from medmm.config.schema import Config
from medmm.data.dataset import Batch, Sample
from medmm.errors import DataError, Reason, StudyError
from medmm.io.atomic import write_json
from medmm.models.decoder import TextDecoder
from medmm.models.heads import SIDES, FindingQueries
from medmm.models.report_generator import Hint, ReportGenerator, ReportOutput
from medmm.models.tokenizer import ReportTokenizer
from medmm.reports.findings import RuleLabeler, rule_labeler
from medmm.reports.target import target_text
from medmm.tasks.base import Draft, Encoded, LossOutput, Task
from medmm.tasks.findings import (
    Labels,
    best_offsets,
    choose_findings,
    labeler_notes,
    load_labeler,
    save_labeler,
)
from medmm.tasks.losses import presence_loss, side_loss
from medmm.tasks.study_labels import label_targets
from medmm.tasks.writing import (
    DESCRIPTION,
    load_writer,
    new_encoder,
    new_writer,
    read_description,
    require_room,
    save_writer,
)
from medmm.types import Finding, Rejection, Status, Study

FORMAT = 1
_IGNORED = -100  # torch's cross entropy leaves such targets out


@dataclass(frozen=True)
class _Target:
    patient: str
    text: str
    labels: Labels


class ReportGeneration(Task):
    """Drafts the target sections of a report."""

    name: ClassVar[str] = "report_gen"

    def __init__(
        self,
        config: Config,
        tokenizer: ReportTokenizer,
        decoder: TextDecoder,
        findings: dict[str, float],
        labeler: RuleLabeler,
    ) -> None:
        """Put the model together.

        Args:
            config: The run's config.
            tokenizer: Text to ids.
            decoder: The language model.
            findings: The head's findings and how often each is present in training; empty to do without head.
            labeler: Reads findings in targets and drafts.
        """
        self.config, self.tokenizer, self.findings, self.labeler = config, tokenizer, findings, labeler
        self.padding: Mapping[str, int] = {"ids": _IGNORED}
        wanted, encoder = config.model, new_encoder(config)
        head = FindingQueries(tuple(findings), encoder.width, tuple(findings.values())) if findings else None
        self.model: ReportGenerator = ReportGenerator(
            encoder, decoder, head, config.preprocess, wanted.max_views, wanted.prefix_grid
        )
        prefix, longest = self.model.prefix_length, wanted.decoder.max_tokens
        parts = f"{prefix} image and finding tokens and {longest} of text"
        smaller = "model.decoder.max_tokens, preprocess.size or model.max_views"
        require_room(decoder, prefix + 1 + longest, parts, smaller)

    @classmethod
    def has_target(cls, study: Study, config: Config) -> bool:
        """Whether the report has one of the target's sections."""
        target = config.target
        try:
            return bool(study.report and target_text(study.report, target.sections, target.whole_text))
        except StudyError:
            return False

    @classmethod
    def build(cls, config: Config, studies: Iterable[Study]) -> ReportGeneration:
        """Learn the tokenizer and choose the findings, then make the model."""
        labeler = rule_labeler(config.labeler.vocabulary)
        targets = [one for one in (_read(study, config, labeler) for study in studies) if isinstance(one, _Target)]
        if not targets:
            raise DataError(
                "no training study has a target text",
                where="data",
                expected=f"reports with {' or '.join(config.target.sections)}",
                fix="Choose other target.sections, or set target.whole_text=true for notes without headings.",
            )
        names, shares = choose_findings([one.labels for one in targets], config.model.findings, labeler.findings)
        findings = dict(zip(names, shares, strict=True))
        texts, patients = [target.text for target in targets], [target.patient for target in targets]
        tokenizer, decoder = new_writer(config, texts, patients, len(findings))
        return cls(config, tokenizer, decoder, findings, labeler)

    @classmethod
    def load(cls, folder: Path, config: Config) -> ReportGeneration:
        """Make the model that :meth:`save` described."""
        said, findings = read_description(folder, cls.name, FORMAT, "findings")
        labeler = load_labeler(folder, said)
        return cls(config, *load_writer(folder), findings, labeler)

    def save(self, folder: Path) -> None:
        """Write what is needed besides the weights.

        The tokenizer, the language model's settings, the user's part of the labeler's vocabulary where there is one,
        and ``task.json``, which names sections, findings and the vocabulary's hash.
        """
        save_writer(folder, self.tokenizer, self.model.decoder)
        target = self.config.target
        said = {
            "format": FORMAT,
            "task": self.name,
            "target_sections": list(target.sections),
            "whole_text": target.whole_text,
            "findings": self.findings,
            "sides": list(SIDES),
            **save_labeler(self.labeler, folder),
        }
        write_json(folder / DESCRIPTION, said)

    def encode(self, studies: Iterable[Study]) -> Encoded:
        """Turn target texts into ids and findings into targets."""
        samples: list[Sample] = []
        rejections: list[Rejection] = []
        cut = 0
        for study in studies:
            target = _read(study, self.config, self.labeler)
            if isinstance(target, Rejection):
                rejections.append(target)
                continue
            ids, was_cut = self.tokenizer.encode(target.text, self.config.model.decoder.max_tokens)
            cut += was_cut
            targets = {"ids": ids, **label_targets(target.labels, tuple(self.findings))}
            samples.append(Sample(study.study_id, targets, len(ids)))
        limit = self.config.model.decoder.max_tokens
        notes = [f"{cut} of {len(samples)} targets were cut at {limit} tokens"] if cut else []
        return Encoded(samples, rejections, [*notes, *labeler_notes(self.labeler, self.config.labeler)])

    def loss(self, model: nn.Module, batch: Batch) -> LossOutput:
        """Cross entropy of the text plus the weighted loss of the findings head."""
        hint = None
        if model.training:
            batch, count = _one_part_first(batch, self.config.train.text_parts)
            hint = self._hint(batch, count)
            ids = _trimmed(batch.targets["ids"][:count])
        else:
            ids = batch.targets["ids"]
        output: ReportOutput = model(batch.images, batch.view_mask, ids.masked_fill(ids < 0, self.tokenizer.pad), hint)
        assert output.logits_btv is not None
        text = functional.cross_entropy(output.logits_btv.float().flatten(0, 1), ids.flatten(), ignore_index=_IGNORED)
        if output.findings is None:
            return LossOutput(text, {"text": text.detach()})
        seen, targets = output.findings, batch.targets
        presence = presence_loss(seen.presence_bf, targets["present"], targets["known"])
        sides = side_loss(seen.sides_bfl, targets["side"])
        total = text + self.config.model.findings.weight * (presence + 0.2 * sides)
        return LossOutput(total, {"text": text.detach(), "findings": presence.detach(), "sides": sides.detach()})

    def _hint(self, batch: Batch, count: int) -> Hint | None:
        """What the first ``count`` target texts say of the findings."""
        if not self.findings:
            return None
        present, known, side = (batch.targets[name][:count] for name in ("present", "known", "side"))
        shown = torch.rand(count, device=present.device) < self.config.model.findings.image_share
        return Hint(shown, known > 0, present > 0, side >= 0, side.clamp(min=0))

    @property
    def pretrained(self) -> nn.Module | None:
        """The language model, where the config names one."""
        return self.model.decoder if self.config.model.decoder.source is not None else None

    @property
    def finding_names(self) -> tuple[str, ...]:
        """The head's findings."""
        return tuple(self.findings)

    @torch.no_grad()
    def draft(self, images: Tensor, view_mask: Tensor) -> list[Draft]:
        """Write reports and read their findings."""
        ids, probabilities, _ = self.model.draft(images, view_mask, self.config.generate)
        drafts = []
        for row, tokens in enumerate(ids.tolist()):
            text = self.tokenizer.decode(tokens)
            found: dict[str, Finding] = self.labeler.label(text)
            for place, name in enumerate(self.findings if probabilities is not None else ()):
                assert probabilities is not None
                known = found.get(name, Finding(Status.UNMENTIONED))
                found[name] = replace(known, probability=float(probabilities[row, place]))
            drafts.append(Draft(text, found))
        return drafts

    @torch.no_grad()
    def settle(self, batches: Callable[[], Iterable[Batch]]) -> Mapping[str, float]:
        """Choose each finding's threshold on validation."""
        head = self.model.head
        if head is None:
            return {}
        self.model.eval()
        rows: list[tuple[Tensor, Tensor, Tensor]] = []
        for batch in batches():
            tokens, mask = self.model.see(batch.images, batch.view_mask)
            rows.append((head(tokens, mask).presence_bf, batch.targets["present"], batch.targets["known"]))
        logits, present, known = (
            np.concatenate([row[part].double().cpu().numpy() for row in rows]) for part in range(3)
        )
        offsets = best_offsets(logits, present, known)
        head.offset.copy_(torch.from_numpy(offsets))
        return {f"threshold/{name}": float(value) for name, value in zip(head.names, offsets, strict=True)}


def _read(study: Study, config: Config, labeler: RuleLabeler) -> _Target | Rejection:
    if study.report is None:
        return Rejection(study.study_id, Reason.IMAGE_WITHOUT_REPORT, "the study has no report")
    try:
        text = target_text(study.report, config.target.sections, config.target.whole_text, config.target.without_priors)
    except StudyError as error:
        return Rejection(study.study_id, error.reason, error.what)
    return _Target(study.patient_key, text, labeler.label(text))


def _one_part_first(batch: Batch, parts: int) -> tuple[Batch, int]:
    """Cut a batch by the length of its texts and put one part, drawn at random, first; with how many studies it has.

    Every study is drawn as often as any other, and texts that are padded to one length are of like length.
    """
    if parts == 1:
        return batch, len(batch.study_ids)
    ids = batch.targets["ids"]
    cut = torch.argsort((ids >= 0).sum(1), stable=True).tensor_split(min(parts, len(ids)))
    chosen = int(torch.randint(len(cut), ()))
    order = torch.cat([cut[chosen], *cut[:chosen], *cut[chosen + 1 :]])
    return batch.reordered(order), len(cut[chosen])


def _trimmed(ids_bt: Tensor) -> Tensor:
    """Without the columns that are padding in every row."""
    return ids_bt[:, : int((ids_bt >= 0).sum(1).max())]
