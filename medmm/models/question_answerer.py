"""Image encoder, answer head and language model as one module that answers questions on a study.

Shape legend: B studies, Q questions, M image tokens of a study, R of them a view that the language model reads, T
tokens of a question, U tokens of an answer, V token ids, K and E channels of an image token and of an embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medmm.config.schema import GenerateConfig, PreprocessConfig
from medmm.models.answer_head import AnswerHead, AnswerOutput
from medmm.models.decoder import TextDecoder
from medmm.models.image_encoder import ImageEncoder
from medmm.models.report_generator import averaging
from medmm.models.study_encoder import StudyEncoder


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

    def chosen(self, which_q: Tensor) -> Asked:
        """Some of the questions, ``[Q]`` bool or ``[Q']`` int64."""
        return Asked(self.owner_q[which_q], self.ids_qt[which_q], self.real_qt[which_q], self.shown_q[which_q])


@dataclass(frozen=True)
class AnsweredQuestions:
    """What the model makes of questions.

    Attributes:
        logits_quv: ``[Q', U, V]`` logits of the tokens of those answers that are predicted.
        called: What the answer head says.
    """

    logits_quv: Tensor
    called: AnswerOutput


class QuestionAnswerer(StudyEncoder):
    """Calls an answer, or writes one behind a prefix of image tokens, what the head says, and the question.

    Args:
        encoder: Image encoder.
        decoder: Language model.
        head: Calls an answer, or that it is none of those it knows.
        preprocess: Mean and standard deviation that images in [0, 1] are normalised by.
        max_views: Most views of a study.
        prefix_grid: Most tokens of a view along each axis that the language model reads.
    """

    average_rn: Tensor

    def __init__(
        self,
        encoder: ImageEncoder,
        decoder: TextDecoder,
        head: AnswerHead,
        preprocess: PreprocessConfig,
        max_views: int,
        prefix_grid: int,
    ) -> None:
        super().__init__(encoder, preprocess, max_views)
        self.decoder, self.head = decoder, head
        self.register_buffer("average_rn", averaging(encoder.grid, prefix_grid), persistent=False)
        self.bridge = nn.Sequential(nn.Linear(encoder.width, decoder.width), nn.LayerNorm(decoder.width))
        self.taken = nn.Linear(encoder.width, decoder.width)
        self.calls = nn.Parameter(torch.randn(head.answers.out_features, decoder.width) * 0.5)
        self.norm = nn.LayerNorm(decoder.width)

    @property
    def image_length(self) -> int:
        """Most prefix tokens beside the question's."""
        return len(self.view) * len(self.average_rn) + 1

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
        read, mask, called = self._look(images, view_mask, asked)
        taken = called.taken_qk
        if written_q is not None:
            read, mask, taken, truth_q = (one[written_q] for one in (read, mask, taken, truth_q))
            asked, answers_qu = asked.chosen(written_q), answers_qu[written_q]
        prefix, prefix_mask = self._prefix(read, mask, asked, taken, truth_q)
        return AnsweredQuestions(self.decoder(prefix, prefix_mask, answers_qu), called)

    @torch.no_grad()
    def answer(self, images: Tensor, view_mask: Tensor, asked: Asked, config: GenerateConfig) -> tuple[Tensor, Tensor]:
        """Call answers, and write those that the head does not know.

        Args:
            images: ``[B, V, 1, *S]`` float32 in [0, 1].
            view_mask: ``[B, V]`` bool.
            asked: The questions.
            config: How to write.

        Returns:
            What is called, ``[Q]`` int64, and for the Q' questions for which that is another answer than those known,
            in their order, token ids ``[Q', U]``.
        """
        read, mask, said = self._look(images, view_mask, asked)
        called = self.head.called(said.logits_qa)
        other = called == self.head.answers.out_features - 1
        if not other.any():
            return called, asked.ids_qt[:0]
        prefix = self._prefix(read[other], mask[other], asked.chosen(other), said.taken_qk[other], called[other])
        return called, self.decoder.generate(*prefix, config)

    def _look(self, images: Tensor, view_mask: Tensor, asked: Asked) -> tuple[Tensor, Tensor, AnswerOutput]:
        """Encode each study once and let its questions ask it.

        Returns:
            Image tokens as the language model reads them, of each question's study, ``[Q, V * R, E]``, their mask, and
            what the head says.
        """
        tokens, mask = self.see(images, view_mask)
        seen, mean = self.head.look(tokens, mask)
        read = self.bridge((self.average_rn @ tokens.unflatten(1, (-1, self.encoder.count))).flatten(1, 2))
        # a product, not an index, whose gradient is added up in any order
        whose_qb = (asked.owner_q[:, None] == torch.arange(len(tokens), device=tokens.device)).float()

        def each(of_studies: Tensor) -> Tensor:
            flat = whose_qb.to(of_studies.dtype) @ of_studies.flatten(1)
            return flat.unflatten(1, of_studies.shape[1:])

        mask = mask[asked.owner_q]
        called = self.head(each(seen), each(mean), mask, asked.shown_q, asked.ids_qt, asked.real_qt)
        return each(read), mask.unflatten(1, (-1, self.encoder.count))[:, :, : len(self.average_rn)].flatten(1), called

    def _prefix(
        self, read_qre: Tensor, mask_qr: Tensor, asked: Asked, taken_qk: Tensor, call_q: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Embeddings ``[Q, P, E]`` and their mask: what is absent, images, the head's call, the question."""
        seen = mask_qr & asked.shown_q[:, None]
        chosen_qa = (call_q[:, None] == torch.arange(len(self.calls), device=call_q.device)).to(self.calls.dtype)
        said = self.norm(self.taken(taken_qk).float() + chosen_qa @ self.calls)[:, None]
        question = self.decoder.embed(asked.ids_qt)
        whole = torch.cat([read_qre.to(question.dtype), said.to(question.dtype), question], dim=1)
        mask = torch.cat([seen, seen.new_ones(len(seen), 1), asked.real_qt], dim=1)
        order = torch.argsort(mask.int(), dim=1, stable=True)
        return torch.take_along_dim(whole, order.unsqueeze(-1), dim=1), torch.take_along_dim(mask, order, dim=1)
