"""Pretraining: scans and their reports, learned from together before anything is labelled."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from medmm.config.schema import Config
from medmm.data.dataset import Batch, Sample
from medmm.errors import CheckpointError, DataError, Reason
from medmm.io.atomic import write_json
from medmm.models.dual_encoder import DualEncoder
from medmm.models.hf_text import load_text_model
from medmm.models.image_encoder import build_encoder
from medmm.models.pretrain_batch import PretrainOutput
from medmm.models.text_encoder import TextEncoder, small_text_encoder, text_encoder_from_config
from medmm.models.tokenizer import ReportTokenizer, learn_tokenizer, load_tokenizer
from medmm.reports.findings import NO_FINDING, RuleLabeler, rule_labeler
from medmm.tasks import objectives
from medmm.tasks.base import Draft, Encoded, LossOutput, Task
from medmm.tasks.corpus import Corpus, read_corpus
from medmm.tasks.findings import labeler_notes, load_labeler, save_labeler
from medmm.tasks.prompts import Prompts, load_prompts, unknown_words
from medmm.tasks.statements import PADDING, Statement, padded, statement_targets, statements
from medmm.types import Finding, Rejection, Status, Study

FORMAT = 1
_DESCRIPTION, _TOKENIZER, _TEXT, _PROMPTS = "task.json", "tokenizer", "text", "prompts.yaml"
_TOLD = (Status.PRESENT, Status.ABSENT)


class Pretraining(Task):
    """Two towers in one space, and findings told from it with prompts."""

    name: ClassVar[str] = "pretraining"

    def __init__(
        self,
        config: Config,
        tokenizer: ReportTokenizer,
        text: TextEncoder,
        findings: Sequence[str],
        labeler: RuleLabeler,
        prompts: Prompts,
    ) -> None:
        """Put the model together.

        Args:
            config: The run's config.
            tokenizer: Text to ids.
            text: The text tower.
            findings: Findings by which reports agree or not, and that prompts ask for.
            labeler: Reads findings in sentences.
            prompts: How findings are asked for.
        """
        self.config, self.tokenizer, self.labeler, self.prompts = config, tokenizer, labeler, prompts
        self.findings = tuple(findings)
        self.padding: Mapping[str, int] = PADDING
        prep = config.preprocess
        shape = (prep.size, prep.size) if prep.depth is None else (prep.depth, prep.size, prep.size)
        self.model: DualEncoder = DualEncoder(build_encoder(config.model.encoder, shape), text, config)
        self.longest = min(config.model.text.max_tokens, text.places or config.model.text.max_tokens)
        self._corpus: Corpus | None = None
        self._asked: tuple[int, Tensor] | None = None
        self._prompts_file = config.prompts.file

    @classmethod
    def has_target(cls, study: Study, config: Config) -> bool:
        """Whether the report has one of the target's sections."""
        report = study.report
        if report is None:
            return False
        whole = config.target.whole_text and not report.sections and bool(report.raw.strip())
        return whole or any(name in report.sections for name in config.target.sections)

    @classmethod
    def build(cls, config: Config, studies: Iterable[Study]) -> Pretraining:
        """Learn the tokenizer, choose the findings and make the model."""
        labeler = rule_labeler(config.labeler.vocabulary)
        read = [(one.patient_key, statements(one.report, config.target, labeler)) for one in studies if one.report]
        read = [(patient, said) for patient, said in read if said]
        if not read:
            fix = "Choose other target.sections, or set target.whole_text=true for notes without headings."
            expected = f"reports with {' or '.join(config.target.sections)}"
            raise DataError("no training study has a text to learn from", where="data", expected=expected, fix=fix)
        prompts = load_prompts(config.prompts.file)
        findings = config.prompts.findings or _stated([said for _, said in read], config.prompts.minimum, labeler)
        wanted = config.model.text
        if wanted.source is not None:
            text, tokenizer = load_text_model(wanted.source)
            return cls(config, tokenizer, text, findings, labeler, prompts)
        texts = [" ".join(one.text for one in said) for _, said in read]
        patients = [patient for patient, _ in read]
        more = read_corpus(config)
        texts, patients = [*texts, *more.texts], [*patients, *more.patients]
        tokenizer = learn_tokenizer(texts, wanted.vocabulary, patients, masks=True)
        return cls(config, tokenizer, small_text_encoder(wanted, tokenizer), findings, labeler, prompts)

    @classmethod
    def load(cls, folder: Path, config: Config) -> Pretraining:
        """Make the model that :meth:`save` described."""
        try:
            said = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
            version, task, findings = said["format"], said["task"], list(said["findings"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError("the model's description cannot be read", where=_DESCRIPTION) from error
        if (version, task) != (FORMAT, cls.name):
            got, expected = f"{task} of format {version}", f"{cls.name} of format {FORMAT}"
            raise CheckpointError("a model of another kind", where=_DESCRIPTION, got=got, expected=expected)
        tokenizer, text = load_tokenizer(folder / _TOKENIZER), text_encoder_from_config(folder / _TEXT)
        return cls(config, tokenizer, text, findings, load_labeler(folder, said), load_prompts(folder / _PROMPTS))

    def save(self, folder: Path) -> None:
        """Write what is needed besides the weights: tokenizer, the text tower's settings, prompts, ``task.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save(folder / _TOKENIZER)
        self.model.text.save(folder / _TEXT)
        self.prompts.save(folder / _PROMPTS)
        said = {
            "format": FORMAT, "task": self.name, "findings": list(self.findings),
            "target_sections": list(self.config.target.sections), "whole_text": self.config.target.whole_text,
            "width": self.config.pretrain.width, **save_labeler(self.labeler, folder),
        }  # fmt: skip
        write_json(folder / _DESCRIPTION, said)

    def encode(self, studies: Iterable[Study]) -> Encoded:
        """Turn reports into sentences with what each says."""
        samples: list[Sample] = []
        rejections: list[Rejection] = []
        cut = 0
        for study in studies:
            said = statements(study.report, self.config.target, self.labeler) if study.report else []
            if not said:
                reason = Reason.SECTION_MISSING if study.report else Reason.IMAGE_WITHOUT_REPORT
                rejections.append(Rejection(study.study_id, reason, "the study has no text to learn from"))
                continue
            targets, was_cut = statement_targets(said, self.findings, self.tokenizer, self.longest)
            cut += was_cut
            samples.append(Sample(study.study_id, targets, len(targets["words"])))
        notes = [f"{cut} of {len(samples)} reports were cut at {self.longest} tokens"] if cut else []
        return Encoded(samples, rejections, [*notes, *labeler_notes(self.labeler, self.config.labeler)])

    def loss(self, model: nn.Module, batch: Batch) -> LossOutput:
        """The weighted sum of the objectives that are on."""
        shown = objectives.show(self, batch, model.training)
        output: PretrainOutput = model(shown.inputs)
        return objectives.add_up(self.config.pretrain, shown, output, batch)

    def corpus(self) -> Corpus:
        """Reports without images, as ids; read once."""
        if self._corpus is None:
            self._corpus = read_corpus(self.config).encoded(self.tokenizer, self.longest)
        return self._corpus

    @torch.no_grad()
    def embed_images(self, images: Tensor, view_mask: Tensor) -> Tensor:
        """Where studies lie in the shared space.

        Args:
            images: float32 ``[B, V, 1, *S]`` in [0, 1] on the model's device.
            view_mask: bool ``[B, V]``.

        Returns:
            float32 ``[B, D]``, of length 1.
        """
        return self.model.embed_images(images, view_mask)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Where texts lie in the shared space, float32 ``[B, D]`` of length 1."""
        ids = [self._ids(text) for text in texts]
        table, mask = padded(ids, self.tokenizer.pad)
        device = self.model.log_scale.device
        return self.model.embed_texts(torch.from_numpy(table).to(device), torch.from_numpy(mask).to(device))

    def _ids(self, text: str) -> list[int]:
        return [self.tokenizer.begin, *self.tokenizer.encode(" ".join(text.split()), self.longest - 1)[0].tolist()]

    def unknown_words(self, text: str) -> list[str]:
        """Words of a text that the tokenizer must spell in single letters, because training knew none like them."""
        return unknown_words(text, self.tokenizer)

    def asking(self) -> Tensor:
        """What findings are told with: ``[F, 2, D]`` unit vectors, of its absence and of its presence."""
        if self.config.prompts.file != self._prompts_file:  # an evaluation asks in other words than the run
            self._prompts_file, self._asked = self.config.prompts.file, None
            self.prompts = load_prompts(self._prompts_file)
        version = self.model.text_pool.project.weight._version
        if self._asked is None or self._asked[0] != version:
            self._asked = version, self.prompts.vectors(self.findings, self.embed_texts)
        return self._asked[1]

    @torch.no_grad()
    def probabilities(self, images_bd: Tensor) -> Tensor:
        """Probabilities ``[B, F]`` of findings in studies ``[B, D]``: presence against absence, by their prompts."""
        scale = self.model.scale.detach()
        likeness = torch.einsum("bd,fkd->bfk", images_bd, self.asking().to(images_bd.device))
        return torch.softmax(scale * likeness, dim=-1)[..., 1]

    @torch.no_grad()
    def draft(self, images: Tensor, view_mask: Tensor) -> list[Draft]:
        """Tell each finding that prompts ask for."""
        drafts = []
        for row in self.probabilities(self.embed_images(images, view_mask)).tolist():
            found = {
                name: Finding(_TOLD[p < 0.5], probability=p)  # noqa: PLR2004
                for name, p in zip(self.findings, row, strict=True)
            }
            drafts.append(Draft(findings=found))
        return drafts

    @property
    def pretrained(self) -> nn.Module | None:
        """The text tower, where it came with weights."""
        return self.model.text if self.config.model.text.source is not None else None

    @property
    def finding_names(self) -> tuple[str, ...]:
        """Findings that prompts ask for."""
        return self.findings


def _stated(reports: Sequence[Sequence[Statement]], minimum: int, labeler: RuleLabeler) -> tuple[str, ...]:
    """Findings that enough reports state to be present, in the labeler's order."""
    counts: Counter[str] = Counter()
    for said in reports:
        mentions = (pair for one in said for pair in one.labels.items())
        counts.update({name for name, finding in mentions if finding.status is Status.PRESENT})
    return tuple(name for name in labeler.findings if name != NO_FINDING and counts[name] >= minimum)
