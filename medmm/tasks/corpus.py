"""Reports without images, for masked words alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medmm.config.schema import Config
from medmm.errors import DataError, UsageError
from medmm.models.tokenizer import ReportTokenizer
from medmm.tasks.statements import padded, target_sentences
from medmm.types import Report


@dataclass(frozen=True)
class Corpus:
    """Texts, whose they are, and their ids once a tokenizer is known."""

    texts: Sequence[str] = ()
    patients: Sequence[str] = ()
    ids: Sequence[Sequence[int]] = ()

    @property
    def size(self) -> int:
        """Number of texts that can be drawn."""
        return len(self.ids)

    def encoded(self, tokenizer: ReportTokenizer, longest: int) -> Corpus:
        """The texts as ids."""
        ids = [[tokenizer.begin, *tokenizer.encode(text, longest - 1)[0].tolist()] for text in self.texts]
        return replace(self, ids=ids)

    def draw(self, number: int, pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Ids and mask of some texts, by torch's generator."""
        places = torch.randint(len(self.ids), (number,)).tolist()
        table, mask = padded([self.ids[place] for place in places], pad)
        return torch.from_numpy(table).to(device), torch.from_numpy(mask).to(device)


def read_corpus(config: Config) -> Corpus:
    """Read the reports that ``pretrain.texts`` names, with images or without.

    Raises:
        UsageError: It is not READER:PATH.
        DataError: It holds no report with a target section.
    """
    named = config.pretrain.texts
    if named is None or not config.pretrain.masked_text:
        return Corpus()
    reader, _, path = named.partition(":")
    if not path:
        raise UsageError("no source of texts", where="pretrain.texts", got=f"'{reader}'", expected="READER:PATH")
    from medmm.data.report_texts import read_reports

    found: list[tuple[str, Report]] = list(read_reports(reader, path, config.data))
    read = [(patient, target_sentences(report, config.target)) for patient, report in found]
    kept = [(patient, " ".join(text for _, text in said)) for patient, said in read if said]
    if not kept:
        raise DataError("no report to learn from", where="pretrain.texts", got=f"{len(found)} reports",
                        expected=f"sections {', '.join(config.target.sections)}")  # fmt: skip
    return Corpus([text for _, text in kept], [patient for patient, _ in kept])
