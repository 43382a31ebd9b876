"""Visual question answering: what is learned of which questions, and what may be asked."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from medmm.config.tasks import ReliabilityConfig
from medmm.config.vqa import VqaConfig
from medmm.data.cache import ImageCache
from medmm.data.dataset import StudyDataset
from medmm.errors import DataError, UsageError
from medmm.models.lora import add_lora
from medmm.models.tokenizer import learn_tokenizer
from medmm.tasks.asking import drawn, unpacked
from medmm.tasks.questions import checked, choose_answers, plain
from medmm.tasks.vqa import VisualQuestionAnswering, answering
from medmm.types import ImageRef, Study

LONG = "Is there a nodule " + "or something else " * 600 + "?"


def study(number):
    bright = number % 2
    asked = [("Is it bright?", ("No", "Yes")[bright]), ("What is it?", ("coal", "snow")[bright])]
    asked += [("Who took it?", f"Dr {'Zyxwv' if number == 3 else 'Smith'}")] if number % 3 == 0 else []
    return Study(f"s{number}", f"p{number}", (ImageRef(Path(f"{number}.png")),), questions=tuple(asked))


STUDIES = [study(number) for number in range(24)]


@pytest.fixture
def make(small):
    def build(**changes):
        torch.manual_seed(0)
        decoder = small.model.decoder.model_copy(update={"width": 64})
        model = small.model.model_copy(update={"decoder": decoder})
        own = {"task": "vqa", "vqa": VqaConfig(**{"minimum": 5, **changes}), "model": model}
        return VisualQuestionAnswering.build(small.model_copy(update=own), STUDIES)

    return build


def dataset(task, seed=0):
    samples = task.encode(STUDIES).samples
    generator = np.random.default_rng(0)
    stored = np.stack([generator.integers(0, 9000, (1, 32, 32)) + 50000 * (k % 2) for k in range(len(STUDIES))])
    cache = ImageCache(stored.astype(np.uint16), {one.study_id: (k,) for k, one in enumerate(STUDIES)})
    return StudyDataset(cache, samples, task.padding, seed)


def test_a_language_model_that_came_with_weights_is_known_as_such(small, make, tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    assert make().pretrained is None
    learn_tokenizer(["Is it bright? Yes. No."] * 9, 300).save(tmp_path)
    GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=2, n_positions=256)).save_pretrained(
        tmp_path
    )
    decoder = small.model.decoder.model_copy(update={"source": str(tmp_path)})
    own = {"task": "vqa", "model": small.model.model_copy(update={"decoder": decoder})}
    task = VisualQuestionAnswering.build(small.model_copy(update=own), STUDIES)
    assert task.pretrained is task.model.decoder
    assert add_lora(task.pretrained.model, "gpt2", 2) == 2 * (2 * (32 + 96) + 2 * (32 + 32))


def test_answers_of_enough_patients_can_be_called_as_they_are_written_most():
    asked = [
        (f"p{k}", "Q?", text) for k, text in enumerate(["Yes", "yes", "Yes.", "Yes", "no", "No", "x-ray", "x ray"])
    ]
    asked += [("p4", "Q?", "no"), ("p4", "Q?", "no"), ("p9", "Q?", "pons")]
    assert choose_answers(asked, 2) == {"no": 4 / 11, "x ray": 2 / 11, "Yes": 4 / 11}
    assert choose_answers(asked, 3) == {"Yes": 4 / 11}


def test_questions_are_read_in_lower_case_without_their_mark():
    assert plain("  Is THERE\n a nodule ?  ") == "is there a nodule"
    assert plain("?") == "?"


def test_at_most_so_many_questions_of_a_study_are_drawn():
    owners = [0] * 9 + [1] * 2 + [2] * 5
    torch.manual_seed(0)
    sets = [drawn(owners, 4) for _ in range(20)]
    for places in sets:
        assert places == sorted(set(places))
        assert [sum(owners[place] == one for place in places) for one in range(3)] == [4, 2, 4]
    assert len({tuple(places) for places in sets}) > 10


def test_a_study_is_a_sample_with_all_its_questions(make):
    task = make()
    sample = task.encode(STUDIES[:1]).samples[0]
    assert set(task.answers) == {"coal", "No", "Dr Smith", "snow", "Yes"}
    assert sample.targets["question_lengths"].sum() == len(sample.targets["questions"])
    assert sample.targets["answer_lengths"].sum() == len(sample.targets["answers"])
    start, written = 0, []
    for length in sample.targets["answer_lengths"]:
        written.append(task.tokenizer.decode(sample.targets["answers"][start : start + length].tolist()))
        start += length
    assert written == ["No", "coal", "Dr Smith"]
    assert [list(task.answers)[place] for place in sample.targets["called"]] == written
    rare = task.encode(STUDIES[3:4]).samples[0]
    assert rare.targets["called"][2] == len(task.answers)
    assert "Zyxwv" not in " ".join(task.tokenizer.inner.get_vocab())


def test_a_long_question_is_cut_and_said_to_be(make):
    task = make(question_tokens=8)
    long = Study("s", "p", STUDIES[0].images, questions=((LONG, "No"),))
    encoded = task.encode([long, STUDIES[0]])
    assert encoded.samples[0].targets["question_lengths"].tolist() == [8]
    assert re.search(r"1 of 4 questions or answers were cut at 8", encoded.notes[0])
    assert task.notes_on(LONG) == ("the question was cut at 8 tokens",)
    assert make().notes_on("Is it bright?") == ()
    images, mask = torch.zeros(1, 1, 1, 32, 32), torch.ones(1, 1, dtype=torch.bool)
    assert isinstance(task.answer(images, mask, [LONG])[0].answer, str)


@pytest.mark.parametrize("question", ["", "  \n", None, 3, "x" * 100_001])
def test_what_is_no_question_is_refused(question):
    with pytest.raises(UsageError, match="question"):
        checked(question)


def test_a_question_of_ten_thousand_characters_can_be_asked():
    assert checked("y" * 10_000) == "y" * 10_000


def test_no_question_and_no_task_that_answers_are_said(make, small):
    task = make()
    with pytest.raises(UsageError, match="asked none"):
        task.draft(torch.zeros(1, 1, 1, 32, 32), torch.ones(1, 1, dtype=torch.bool))
    assert answering(task) is task
    with pytest.raises(UsageError, match="--task report_gen"):
        answering(type("Other", (), {"name": "report_gen"})())
    with pytest.raises(DataError, match="no training study has a question"):
        VisualQuestionAnswering.build(small, [Study("s", "p", STUDIES[0].images)])


def test_more_than_a_step_takes_is_left_for_another(make):
    task = make(per_study=1)
    batch = dataset(task).batch(range(6), None)
    torch.manual_seed(0)
    pad = task.tokenizer.pad
    assert len(unpacked(batch, pad, task.config.vqa, True).called_q) == 6
    assert len(unpacked(batch, pad, task.config.vqa, False).called_q) == 14
    assert not unpacked(batch, pad, VqaConfig(image_share=0.0), True).asked.shown_q.any()
    assert unpacked(batch, pad, VqaConfig(image_share=0.1), False).asked.shown_q.all()
    assert not unpacked(batch, pad, VqaConfig(image_share=0.0), False).asked.shown_q.any()  # as it will be asked


def test_it_learns_what_the_image_shows_and_what_the_question_says(make):
    task = make()
    data = dataset(task)
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=3e-3)
    for step in range(150):
        torch.manual_seed(step)
        batch = data.batch(np.random.default_rng(step).permutation(24)[:12], None)
        task.model.train()
        optimizer.zero_grad()
        task.loss(task.model, batch).total.backward()
        optimizer.step()
    task.model.eval()
    batch = data.batch(range(4), None)
    asked = ["Is it bright?", "is it bright", "What is it?", "What is it"]
    seen = [one.answer for one in task.answer(batch.images, batch.view_mask, asked)]
    assert seen == ["No", "Yes", "coal", "snow"]
    settled = task.settle(lambda: iter([data.batch(range(24), None)]))
    sure = task.answer(batch.images, batch.view_mask, asked)
    assert min(one.confidence for one in sure) > 0.8
    assert all(one.declined is None and not one.stranger for one in sure)
    assert set(settled) >= {"other_worth", "temperature"}
    task.config = task.config.model_copy(update={"reliability": ReliabilityConfig(most_wrong=0.01)})
    assert all("too few" in one.declined for one in task.answer(batch.images, batch.view_mask, asked))
    blind = [one.answer for one in task.answer(batch.images, batch.view_mask, asked, shown=False)]
    assert blind[0] == blind[1] in {"No", "Yes"}
    assert blind[2] == blind[3] in {"coal", "snow"}
