"""Visual question answering: a question and the views of a study in, an answer out, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from medmm.config.schema import Config
from medmm.data.dataset import Batch, Sample
from medmm.errors import CheckpointError, DataError, Reason, UsageError
from medmm.io.atomic import write_json
from medmm.metrics.answers import normalised
from medmm.models.answer_head import AnswerHead
from medmm.models.decisions import PROMISED
from medmm.models.decoder import TextDecoder
from medmm.models.question_answerer import AnsweredQuestions, Asked, GivenAnswers, QuestionAnswerer
from medmm.models.tokenizer import ReportTokenizer
from medmm.models.weights import load_tensors, save_tensors
from medmm.tasks.answer_settling import settle_answers
from medmm.tasks.asking import IGNORED, padded, unpacked, why_declined
from medmm.tasks.base import Draft, Encoded, LossOutput, Task
from medmm.tasks.questions import choose_answers, pairs, plain
from medmm.tasks.writing import (
    DESCRIPTION,
    load_writer,
    new_encoder,
    new_writer,
    read_description,
    require_room,
    save_writer,
)
from medmm.types import Rejection, Study

FORMAT = 2
"""Of format 1 were models that did not know how sure they are."""
_WORDS = "words.safetensors"
_TIE = 0.01  # of the cross entropies beside the share of wrong calls
_CHARACTERS_A_TOKEN = 32  # more are never needed to fill a question's tokens


class VisualQuestionAnswering(Task):
    """Answers questions on a study, says how sure each answer is, and when it had better not count."""

    name: ClassVar[str] = "vqa"
    learns_from: ClassVar[str] = "questions with answers"

    def __init__(
        self, config: Config, tokenizer: ReportTokenizer, decoder: TextDecoder, answers: Mapping[str, float]
    ) -> None:
        """Put the model together.

        Args:
            config: The run's config.
            tokenizer: Text to ids.
            decoder: The language model.
            answers: The answers that the head can call, as they are written, and the share of training questions with
                each; all others share what is left.
        """
        self.config, self.tokenizer, self.answers = config, tokenizer, dict(answers)
        self._place = {normalised(answer): place for place, answer in enumerate(answers)}
        self.padding: Mapping[str, int] = {
            "questions": 0, "question_lengths": 0, "answers": 0, "answer_lengths": 0, "called": IGNORED,
        }  # fmt: skip
        wanted, encoder = config.model, new_encoder(config)
        shares = [*answers.values(), max(0.0, 1 - sum(answers.values()))]
        head = AnswerHead(tokenizer.size, encoder.width, shares, wanted.decoder.dropout)
        self.model: QuestionAnswerer = QuestionAnswerer(
            encoder, decoder, head, config.preprocess, wanted.max_views, wanted.prefix_grid
        )
        prefix, asked, longest = self.model.prefix_length, config.vqa.question_tokens, wanted.decoder.max_tokens
        parts = f"{prefix} of images, {asked} of the question and {longest} of the answer"
        smaller = "vqa.question_tokens, model.decoder.max_tokens or model.max_views"
        require_room(decoder, prefix + asked + 1 + longest, parts, smaller)

    @classmethod
    def teaches(cls, study: Study) -> bool:
        """Whether a study has images and questions."""
        return bool(study.images) and bool(study.questions)

    @classmethod
    def build(cls, config: Config, studies: Iterable[Study]) -> VisualQuestionAnswering:
        """Learn the tokenizer and choose the answers that can be called, then make the model."""
        asked = [(study.patient_key, *pair) for study in studies for pair in pairs(study)]
        if not asked:
            fix = "Choose a reader that brings questions, or set data.columns.question and data.columns.answer."
            raise DataError("no training study has a question with an answer", where="data", fix=fix)
        answers = choose_answers(asked, config.vqa.minimum)
        texts = [text for _, question, answer in asked for text in (plain(question), answer)]
        patients = [patient for patient, _, _ in asked for _ in range(2)]
        tokenizer, decoder = new_writer(config, texts, patients, 1 + config.vqa.question_tokens)
        task = cls(config, tokenizer, decoder, answers)
        task.model.head.weigh([task._question_ids(question)[0] for _, question, _ in asked])
        return task

    @classmethod
    def load(cls, folder: Path, config: Config) -> VisualQuestionAnswering:
        """Make the model that :meth:`save` described."""
        _, answers = read_description(folder, cls.name, FORMAT, "answers")
        task = cls(config, *load_writer(folder), answers)
        telling = load_tensors(folder / _WORDS).get("telling")
        if telling is None or telling.shape != task.model.head.telling.shape:
            raise CheckpointError("what words tell does not belong to this tokenizer", where=_WORDS)
        task.model.head.telling.copy_(telling)
        return task

    def save(self, folder: Path) -> None:
        """Write what is needed besides the weights.

        The tokenizer, how much each of its words tells, the language model's settings, and ``task.json``, which names
        the head's answers.
        """
        save_writer(folder, self.tokenizer, self.model.decoder)
        save_tensors(folder / _WORDS, {"telling": self.model.head.telling})
        write_json(folder / DESCRIPTION, {"format": FORMAT, "task": self.name, "answers": self.answers})

    def encode(self, studies: Iterable[Study]) -> Encoded:
        """Turn questions and answers into ids: a sample a study, with all its questions."""
        samples: list[Sample] = []
        rejections: list[Rejection] = []
        number = cut = 0
        for study in studies:
            asked = pairs(study)
            if not asked:
                detail = "the study has no question with an answer"
                rejections.append(Rejection(study.study_id, Reason.IMAGE_WITHOUT_QUESTION, detail))
                continue
            targets, was_cut = self._targets(asked)
            number, cut = number + len(asked), cut + was_cut
            samples.append(Sample(study.study_id, targets, len(targets["questions"]) + len(targets["answers"])))
        limits = f"{self.config.vqa.question_tokens} and {self.config.model.decoder.max_tokens}"
        notes = [f"{cut} of {number} questions or answers were cut at {limits} tokens"] if cut else []
        return Encoded(samples, rejections, notes)

    def _targets(self, asked: Sequence[tuple[str, str]]) -> tuple[dict[str, npt.NDArray[np.int64]], int]:
        """The questions and answers of a study, one behind the other, and how many of them were cut."""
        longest = self.config.model.decoder.max_tokens
        questions = [self._question_ids(question) for question, _ in asked]
        places = [self._place.get(normalised(answer), len(self._place)) for _, answer in asked]
        named = [*self.answers, None]
        texts = [named[place] or answer for place, (_, answer) in zip(places, asked, strict=True)]
        answers = [self.tokenizer.encode(text, longest) for text in texts]
        targets = {"called": np.array(places, np.int64)}
        for name, rows in (("question", questions), ("answer", answers)):
            targets[f"{name}s"] = np.concatenate([ids for ids, _ in rows])
            targets[f"{name}_lengths"] = np.array([len(ids) for ids, _ in rows], np.int64)
        return targets, sum(one or other for (_, one), (_, other) in zip(questions, answers, strict=True))

    def _question_ids(self, question: str) -> tuple[npt.NDArray[np.int64], bool]:
        limit = self.config.vqa.question_tokens
        text = plain(question)
        ids, was_cut = self.tokenizer.encode(text[: limit * _CHARACTERS_A_TOKEN], limit)
        return ids, was_cut or len(text) > limit * _CHARACTERS_A_TOKEN

    def loss(self, model: nn.Module, batch: Batch) -> LossOutput:
        """Cross entropy of the answers' tokens, and that of the head's answers by its weight.

        What is judged without learning is the share of questions that the head cannot call right: cross entropy rises
        with how sure a model is of its errors, long before it makes more of them. It only breaks ties.
        """
        learned = unpacked(batch, self.tokenizer.pad, self.config.vqa, model.training)
        ids, written = learned.answers_qu, None
        if model.training and self.config.train.text_parts > 1:
            written = torch.randperm(len(ids))[: -(-len(ids) // self.config.train.text_parts)].to(ids.device)
        output: AnsweredQuestions = model(
            batch.images, batch.view_mask, learned.asked, learned.called_q,
            ids.masked_fill(ids < 0, self.tokenizer.pad), written,
        )  # fmt: skip
        ids = ids if written is None else ids[written]
        text = functional.cross_entropy(output.logits_quv.float().flatten(0, 1), ids.flatten(), ignore_index=IGNORED)
        smoothing = self.config.vqa.smoothing if model.training else 0.0
        weight = self.config.vqa.head_weight
        called = functional.cross_entropy(output.called.logits_qa, learned.called_q, label_smoothing=smoothing)
        known = output.called.logits_qa[:, :-1]
        wrong = (known.argmax(1) != learned.called_q).float().mean() if known.shape[1] else torch.ones(())
        parts = {"text": text.detach(), "called": called.detach(), "wrong": wrong.detach()}
        total = text + weight * called
        return LossOutput(total if model.training else wrong + _TIE * total, parts)

    @torch.no_grad()
    def answer(self, images: Tensor, view_mask: Tensor, questions: Sequence[str], shown: bool = True) -> list[Draft]:
        """Answer a question on each study.

        Args:
            images: float32 ``[B, V, 1, *S]`` in [0, 1] on the model's device.
            view_mask: bool ``[B, V]``.
            questions: B questions, as :func:`medmm.tasks.questions.checked` lets them through.
            shown: Whether the model sees the images; without it answers from the question alone.
        """
        rows = [torch.from_numpy(self._question_ids(question)[0]).to(images.device) for question in questions]
        seen = torch.full((len(rows),), shown and self.config.vqa.image_share > 0, device=images.device)
        asked = padded(range(len(rows)), rows, seen, self.tokenizer.pad)
        given = self.model.answer(images, view_mask, asked, self.config.generate)
        most_wrong = self.config.reliability.most_wrong
        least = self.model.decisions.least_sure(most_wrong)
        said = zip(self._texts(given), given.confidence_q.tolist(), given.strange_q.tolist(), strict=True)
        return [
            Draft(answer=text, confidence=sure, declined=why_declined(sure, least, most_wrong), stranger=is_strange)
            for text, sure, is_strange in said
        ]

    def _texts(self, given: GivenAnswers) -> list[str]:
        """The answers as people read them."""
        known, written = list(self.answers), iter(given.ids_qu.tolist())
        places = given.called_q.tolist()
        return [known[place] if place < len(known) else self.tokenizer.decode(next(written)) for place in places]

    def draft(self, images: Tensor, view_mask: Tensor) -> list[Draft]:
        """Answer the first of ``score.questions`` on each study.

        Raises:
            UsageError: There is none.
        """
        if not self.config.score.questions:
            fix = "Ask one: model.predict(study, question=...), or score with score.questions=[...]."
            raise UsageError("a model that answers questions was asked none", where="question", fix=fix)
        return self.answer(images, view_mask, self.config.score.questions[:1] * len(images))

    @torch.no_grad()
    def settle(self, batches: Callable[[], Iterable[Batch]]) -> Mapping[str, float]:
        """Fit on validation what other answers are worth, confidences, when to decline, and what is familiar."""
        self.model.eval()
        worth = self._other_worth(batches())
        self.model.head.worth.fill_(worth)
        odds: list[Tensor] = []
        written: list[Tensor] = []
        features: list[Tensor] = []
        right: list[bool] = []
        studies: list[str] = []
        for batch in batches():
            learned = unpacked(batch, self.tokenizer.pad, self.config.vqa, training=False)
            given, marks = self._marked(batch, learned.asked, learned.answers_qu)
            odds.append(given.log_odds_q)
            written.append(given.called_q == len(self.answers))
            features.append(given.mean_bk)
            right += marks
            studies += [batch.study_ids[row] for row in learned.asked.owner_q.tolist()]
        decisions, familiarity = self.model.decisions, self.model.familiarity
        settle_answers(decisions, _numbers(odds), _numbers(written) > 0, np.array(right, bool), studies)
        familiarity.fit(_numbers(features), self.config.reliability.familiar)
        least = PROMISED[np.isfinite(decisions.promise.cpu().numpy())]
        found = {
            "other_worth": worth, "temperature": float(decisions.temperature), "farthest": float(familiarity.limit),
            "least_promise": float(least.min()) if len(least) else math.inf,
        }  # fmt: skip
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def _other_worth(self, batches: Iterable[Batch]) -> float:
        """How often an answer that the head does not know is written right."""
        self.model.head.worth.fill_(math.inf)  # so that the head never calls one that it knows
        right: list[bool] = []
        for batch in batches:
            learned = unpacked(batch, self.tokenizer.pad, self.config.vqa, training=False)
            other = learned.called_q == len(self.answers)
            if other.any():
                right += self._marked(batch, learned.asked.chosen(other), learned.answers_qu[other])[1]
        return sum(right) / len(right) if right else 1.0

    def _marked(self, batch: Batch, asked: Asked, answers_qu: Tensor) -> tuple[GivenAnswers, list[bool]]:
        """Answer questions on a batch, and say of each answer whether it is right."""
        given = self.model.answer(batch.images, batch.view_mask, asked, self.config.generate)
        truth = answers_qu.masked_fill(answers_qu < 0, self.tokenizer.pad).tolist()
        pairs_of_texts = zip(self._texts(given), map(self.tokenizer.decode, truth), strict=True)
        return given, [normalised(said) == normalised(right) for said, right in pairs_of_texts]

    @property
    def pretrained(self) -> nn.Module | None:
        """The language model, where the config names one."""
        return self.model.decoder if self.config.model.decoder.source is not None else None

    def notes_on(self, question: str) -> tuple[str, ...]:
        """What a reader of an answer should know of how its question was read."""
        limit = self.config.vqa.question_tokens
        return (f"the question was cut at {limit} tokens",) if self._question_ids(question)[1] else ()


def answering(task: Task) -> VisualQuestionAnswering:
    """The task, if it answers questions.

    Raises:
        UsageError: It was trained for something else.
    """
    if isinstance(task, VisualQuestionAnswering):
        return task
    raise UsageError(
        "this run answers no questions", where="question", got=f"a run of --task {task.name}",
        expected="a run of --task vqa", fix="Leave the question out, or name another run.",
    )  # fmt: skip


def _numbers(parts: Sequence[Tensor]) -> npt.NDArray[np.float64]:
    return np.concatenate([part.double().cpu().numpy() for part in parts])
