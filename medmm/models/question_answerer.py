"""Image encoder, answer head and language model as one module that answers questions, and knows how sure it is.

Shape legend: B studies, Q questions, M image tokens of a study, R of them a view that the language model reads, T
tokens of a question, U tokens of an answer, V token ids, K and E channels of an image token and of an embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medmm.config.schema import GenerateConfig, PreprocessConfig
from medmm.models.answer_head import AnswerHead, AnswerOutput
from medmm.models.decisions import Decisions
from medmm.models.decoder import TextDecoder
from medmm.models.familiarity import Familiarity
from medmm.models.image_encoder import ImageEncoder
from medmm.models.study_writer import StudyWriter, absent_first

_MOST_ODDS = 15.0


@dataclass(frozen=True)
class Asked:
    """Questions on the studies of a batch.

    Attributes:
        owner_q: ``[Q]`` int64, each question's study in the batch.
        ids_qt: ``[Q, T]`` int64 token ids.
        real_qt: ``[Q, T]`` bool, False for padding.
        shown_q: ``[Q]`` bool, False where the question is answered without the images.
    """

    owner_q: Tensor
    ids_qt: Tensor
    real_qt: Tensor
    shown_q: Tensor

    def chosen(self, which_q: Tensor | slice) -> Asked:
        """Some of the questions, ``[Q]`` bool, ``[Q']`` int64 or a slice."""
        return Asked(self.owner_q[which_q], self.ids_qt[which_q], self.real_qt[which_q], self.shown_q[which_q])


@dataclass(frozen=True)
class AnsweredQuestions:
    """What the model makes of questions whose answers it learns.

    Attributes:
        logits_quv: ``[Q', U, V]`` logits of the tokens of those answers that are predicted.
        called: What the answer head says.
    """

    logits_quv: Tensor
    called: AnswerOutput


@dataclass(frozen=True)
class GivenAnswers:
    """What the model answers.

    Attributes:
        called_q: ``[Q]`` int64, which answer the head calls; the last one stands for any other.
        ids_qu: ``[Q', U]`` int64 token ids of the answers that are written: of those questions, in their order, for
            which another answer is called.
        log_odds_q: ``[Q]`` float32, log odds of the probability that the model gives its own answer, not calibrated.
        confidence_q: ``[Q]`` float32 in [0, 1], calibrated probability that the answer is right.
        mean_bk: ``[B, K]`` float32, each study's mean image token.
        strange_q: ``[Q]`` bool, whether the images that a question was shown are unlike those of validation.
    """

    called_q: Tensor
    ids_qu: Tensor
    log_odds_q: Tensor
    confidence_q: Tensor
    mean_bk: Tensor
    strange_q: Tensor


@dataclass(frozen=True)
class _Look:
    """Image tokens of each question's study as the language model reads them, their mask, and what the head says."""

    read_qre: Tensor
    mask_qr: Tensor
    called: AnswerOutput
    mean_bk: Tensor

    def of(self, which_q: Tensor | slice) -> tuple[Tensor, Tensor, Tensor]:
        """Image tokens, their mask, and what was taken from the image, for some of the questions."""
        return self.read_qre[which_q], self.mask_qr[which_q], self.called.taken_qk[which_q]


class QuestionAnswerer(StudyWriter):
    """Calls an answer, or writes one behind a prefix of image tokens, what the head says, and the question.

    ``decisions`` turns the log odds of an answer to a confidence: of answers that the head calls by the first of its
    two columns, of written ones by the second. ``familiarity`` knows how studies of validation look.

    Args:
        encoder: Image encoder.
        decoder: Language model.
        head: Calls an answer, or that it is none of those it knows.
        preprocess: Mean and standard deviation that images in [0, 1] are normalised by.
        max_views: Most views of a study.
        prefix_grid: Most tokens of a view along each axis that the language model reads.
    """

    head: AnswerHead

    def __init__(
        self,
        encoder: ImageEncoder,
        decoder: TextDecoder,
        head: AnswerHead,
        preprocess: PreprocessConfig,
        max_views: int,
        prefix_grid: int,
    ) -> None:
        super().__init__(encoder, decoder, head, preprocess, max_views, prefix_grid)
        self.taken = nn.Linear(encoder.width, decoder.width)
        self.calls = nn.Parameter(torch.randn(head.answers.out_features, decoder.width) * 0.5)
        self.norm = nn.LayerNorm(decoder.width)
        self.decisions = Decisions(2)
        self.familiarity = Familiarity(encoder.width)

    @property
    def prefix_length(self) -> int:
        """Most prefix tokens beside the question's."""
        return self.image_length + 1

    def forward(  # noqa: PLR0913, PLR0917
        self,
        images: Tensor,
        view_mask: Tensor,
        asked: Asked,
        truth_q: Tensor,
        answers_qu: Tensor,
        written_q: Tensor | None = None,
    ) -> AnsweredQuestions:
        """Look at studies and predict the answers' tokens.

        Args:
            images: ``[B, V, 1, *S]`` float32 in [0, 1].
            view_mask: ``[B, V]`` bool.
            asked: The questions.
            truth_q: ``[Q]`` int64, the answer that the language model is told the head calls.
            answers_qu: ``[Q, U]`` int64 token ids, padded at the right.
            written_q: ``[Q']`` int64, the questions whose answers the language model predicts; all if None.
        """
        seen = self._look(images, view_mask, asked)
        whose = slice(None) if written_q is None else written_q
        prefix, mask = self._prefix(*seen.of(whose), asked.chosen(whose), truth_q[whose])
        return AnsweredQuestions(self.decoder(prefix, mask, answers_qu[whose]), seen.called)

    @torch.no_grad()
    def answer(self, images: Tensor, view_mask: Tensor, asked: Asked, config: GenerateConfig) -> GivenAnswers:
        """Call answers, write those that the head does not know, and say how sure each is.

        Args:
            images: ``[B, V, 1, *S]`` float32 in [0, 1].
            view_mask: ``[B, V]`` bool.
            asked: The questions.
            config: How to write.
        """
        seen = self._look(images, view_mask, asked)
        logits = seen.called.logits_qa
        called = self.head.called(logits)
        other = called == logits.shape[1] - 1
        ids = asked.ids_qt[:0]
        log_p = logits.log_softmax(1).gather(1, called[:, None])[:, 0]
        if other.any():
            prefix, mask = self._prefix(*seen.of(other), asked.chosen(other), called[other])
            ids = self.decoder.generate(prefix, mask, config)
            log_p[other] += self._log_probability(prefix, mask, ids)
        odds = log_odds(log_p)
        confidence = self.decisions.probabilities(odds[:, None].expand(-1, 2))
        strange = self.familiarity.is_stranger(self.familiarity(seen.mean_bk))[asked.owner_q] & asked.shown_q
        sure = torch.where(other, confidence[:, 1], confidence[:, 0])
        return GivenAnswers(called, ids, odds, sure, seen.mean_bk, strange)

    def _log_probability(self, prefix_qpe: Tensor, mask_qp: Tensor, ids_qu: Tensor) -> Tensor:
        """Log-probability of written answers, ``[Q]`` float32: of their tokens up to the end token."""
        log_p = self.decoder(prefix_qpe, mask_qp, ids_qu).float().log_softmax(-1)
        ended = (ids_qu == self.decoder.end).int()
        past = ended.cumsum(1) - ended > 0
        return log_p.gather(2, ids_qu[..., None])[..., 0].masked_fill(past, 0.0).sum(1)

    def _look(self, images: Tensor, view_mask: Tensor, asked: Asked) -> _Look:
        """Encode each study once and let its questions ask it."""
        tokens, mask = self.see(images, view_mask)
        seen, mean = self.head.look(tokens, mask)
        read, read_mask = self.bridged(tokens, mask)
        # a product, not an index, whose gradient is added up in any order
        whose_qb = (asked.owner_q[:, None] == torch.arange(len(tokens), device=tokens.device)).float()

        def each(of_studies: Tensor) -> Tensor:
            flat = whose_qb.to(of_studies.dtype) @ of_studies.flatten(1)
            return flat.unflatten(1, of_studies.shape[1:])

        owner = asked.owner_q
        called = self.head(each(seen), each(mean), mask[owner], asked.shown_q, asked.ids_qt, asked.real_qt)
        return _Look(each(read), read_mask[owner], called, mean)

    def _prefix(
        self, read_qre: Tensor, mask_qr: Tensor, taken_qk: Tensor, asked: Asked, call_q: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Embeddings ``[Q, P, E]`` and their mask: what is absent, images, the head's call, the question."""
        seen = mask_qr & asked.shown_q[:, None]
        chosen_qa = (call_q[:, None] == torch.arange(len(self.calls), device=call_q.device)).to(self.calls.dtype)
        said = self.norm(self.taken(taken_qk).float() + chosen_qa @ self.calls)[:, None]
        question = self.decoder.embed(asked.ids_qt)
        whole = torch.cat([read_qre.to(question.dtype), said.to(question.dtype), question], dim=1)
        mask = torch.cat([seen, seen.new_ones(len(seen), 1), asked.real_qt], dim=1)
        return absent_first(whole, mask)


def log_odds(log_p: Tensor) -> Tensor:
    """Log odds of probabilities that are given by their logarithms, float32; those of certainty are cut at 15."""
    beyond = torch.log(-torch.expm1(log_p.clamp(max=-1e-7)))
    return (log_p - beyond).clamp(-_MOST_ODDS, _MOST_ODDS)
