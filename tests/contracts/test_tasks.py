"""One suite over every task: what the training loop, loading and scoring rely on."""

import atexit
import random
import re
import shutil
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from medmm import registry
from medmm.config.pretraining import PretrainConfig
from medmm.config.schema import ColumnsConfig, DataConfig, ScoreConfig
from medmm.config.vqa import VqaConfig
from medmm.data.cache import ImageCache
from medmm.data.cases import CaseCache, CaseDataset
from medmm.data.dataset import StudyDataset
from medmm.errors import CheckpointError, Reason
from medmm.models.weights import load_into, load_tensors, save_tensors
from medmm.reports.parse import parse_report
from medmm.types import ImageRef, Status, Study

COUNT, VIEWS, SPOT = 9, 2, 60000
ASIDE = {
    "report_gen": [Reason.IMAGE_WITHOUT_REPORT, Reason.SECTION_MISSING, Reason.IMAGE_WITHOUT_REPORT],
    "classification": [Reason.LABEL_MISSING] * 3,
    "vqa": [Reason.IMAGE_WITHOUT_QUESTION] * 3,
    "segmentation": [Reason.IMAGE_WITHOUT_MASK] * 3,
    "regression": [Reason.LABEL_MISSING] * 3,
    "pretraining": [Reason.IMAGE_WITHOUT_REPORT, Reason.SECTION_MISSING, Reason.IMAGE_WITHOUT_REPORT],
}
"""Why a task sets aside a study without report, one whose report says nothing asked for, and another of the first."""
FOLDER = Path(tempfile.mkdtemp(prefix="medmm-test-tasks-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
pytestmark = pytest.mark.parametrize("name", list(registry.TASKS))


def study(number):
    """The report says what the image shows: a nodule on one side or none."""
    side = (None, "left", "right")[number % 3]
    text = f"FINDINGS: There is a {side} lung nodule." if side else "FINDINGS: No lung nodule. The heart is normal."
    text += f" IMPRESSION: {side.capitalize()} nodule." if side else " IMPRESSION: Normal chest."
    images = tuple(ImageRef(FOLDER / f"{number}-{view}.png") for view in range(1 + number % VIEWS))
    asked = [("Is there a nodule?", "yes" if side else "no")] + ([("On which side is it?", side)] if side else [])
    values = {"place": (0.5, 24.0, 8.0)[number % 3]}
    return Study(
        f"study {number}", f"patient {number}", images, parse_report(text), questions=tuple(asked), values=values
    )


def outlined(one):
    """The study with its first image and the mask of the nodule on disk."""
    number = int(one.study_id.split()[1])
    image, mask = spot(number), np.zeros((32, 32), np.uint8)
    mask[image[0] == SPOT] = 255
    cv2.imwrite(str(one.images[0].path), image[0])
    cv2.imwrite(str(FOLDER / f"{number}-mask.png"), mask)
    return replace(one, masks={"nodule": FOLDER / f"{number}-mask.png"})


def spot(number):
    """A bright spot on noise, on the side that the study's report names; ``[1, 32, 32]`` uint16."""
    image = np.random.default_rng(number).integers(0, 8000, (1, 32, 32)).astype(np.uint16)
    side = number % 3
    if side:
        image[0, 8:16, (20 if side == 1 else 4) :][:, :8] = SPOT
    return image


def bare(number):
    """A study that has images but nothing to learn."""
    return Study(f"bare {number}", f"patient {number}", (ImageRef(Path(f"{number}.png")),))


def wordless(number):
    """A study whose report says nothing that is asked for."""
    report = parse_report("INDICATION: Mrs Zyxwv has a cough.")
    return Study(f"wordless {number}", f"patient {number}", (ImageRef(Path(f"{number}.png")),), report)


STUDIES = [outlined(study(number)) for number in range(COUNT)]
OWN = {
    "vqa": VqaConfig(minimum=2), "score": ScoreConfig(questions=("Is there a nodule?",)),
    "data": DataConfig(columns=ColumnsConfig(label="place")),
    "pretrain": PretrainConfig(width=16, part=1.0, soften=0.0, masked_text=1.0),
}  # fmt: skip
"""Settings of single tasks that so few studies need."""


@pytest.fixture
def make(small):
    """Build a task on the studies: ``make(name, seed)``."""

    def build(name, seed=0):
        torch.manual_seed(seed)
        task = registry.resolve("task", name).build(small.model_copy(update={"task": name, **OWN}), STUDIES)
        task.model.eval()
        return task

    return build


def batch_of(task, indices=tuple(range(COUNT))):
    """A batch as the loop makes it, of a bright spot on black."""
    samples = task.encode(STUDIES).samples
    if task.name == "segmentation":
        cases, _ = CaseCache.build(STUDIES, task.grid, task.code, {}, FOLDER / "cases")
        return CaseDataset(cases, samples, seed=0).batch(indices, epoch=None)
    rows, stored = {}, []
    for one in STUDIES:
        rows[one.study_id] = tuple(range(len(stored), len(stored) + len(one.images)))
        stored += [spot(int(one.study_id.split()[1]))] * len(one.images)
    cache = ImageCache(np.stack(stored), rows)
    return StudyDataset(cache, samples, task.padding, seed=0).batch(indices, epoch=None)


def loss_of(task, batch, seed=0):
    torch.manual_seed(seed)
    with torch.no_grad():
        output = task.loss(task.model, batch)
    return {"total": float(output.total), **{name: float(part) for name, part in output.parts.items()}}


def plain(draft):
    """What a draft says, masks as lists, to be compared."""
    return asdict(draft) | {"masks": {name: mask.tolist() for name, mask in draft.masks.items()}}


def test_it_is_called_as_in_the_registry(name, make):
    kind = registry.resolve("task", name)
    assert kind.name == name
    assert make(name).name == name


def test_the_same_seed_builds_the_same_weights(name, make):
    one, two, other = (make(name, seed).model.state_dict() for seed in (0, 0, 1))
    assert {key: value.tolist() for key, value in one.items()} == {key: value.tolist() for key, value in two.items()}
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_samples_come_in_the_order_of_the_studies(name, make):
    task = make(name)
    encoded = task.encode(iter(STUDIES))  # studies come as a stream
    assert [sample.study_id for sample in encoded.samples] == [one.study_id for one in STUDIES]
    assert list(encoded.rejections) == []
    assert len({tuple(sample.targets) for sample in encoded.samples}) == 1
    assert all(sample.length > 0 for sample in encoded.samples)
    ragged = {
        target
        for target in encoded.samples[0].targets
        if len({sample.targets[target].shape for sample in encoded.samples}) > 1
    }
    assert ragged <= set(task.padding) <= set(encoded.samples[0].targets)


def test_a_study_without_target_is_set_aside_with_its_reason_and_no_study_is_lost(name, make):
    task = make(name)
    studies = [bare(0), *STUDIES[:4], wordless(1), *STUDIES[4:], bare(2)]
    encoded = task.encode(studies)
    aside = {one.study_id: one for one in encoded.rejections}
    assert list(aside) == ["bare 0", "wordless 1", "bare 2"]
    assert [sample.study_id for sample in encoded.samples] == [one.study_id for one in STUDIES]
    assert [one.reason for one in encoded.rejections] == ASIDE[name]
    assert "Zyxwv" not in "".join(one.detail for one in encoded.rejections)


def test_the_loss_is_finite_and_its_parts_are_detached(name, make):
    task = make(name)
    batch = batch_of(task)
    for training in (True, False):
        task.model.train(training)
        output = task.loss(task.model, batch)
        assert output.total.shape == ()
        assert output.total.requires_grad
        assert torch.isfinite(output.total)
        for part in output.parts.values():
            assert part.shape == ()
            assert not part.requires_grad
            assert torch.isfinite(part)


def test_the_loss_reaches_every_weight(name, make):
    task = make(name)
    task.model.train()
    task.loss(task.model, batch_of(task)).total.backward()
    untouched = [key for key, weight in task.model.named_parameters() if weight.grad is None]
    assert untouched == []
    assert all(torch.isfinite(weight.grad).all() for weight in task.model.parameters())


def test_the_loss_falls_on_a_batch_that_is_learned(name, make):
    task = make(name)
    batch = batch_of(task)
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=3e-3)
    before = loss_of(task, batch)
    for _ in range(12):
        task.model.train()
        optimizer.zero_grad()
        task.loss(task.model, batch).total.backward()
        optimizer.step()
    task.model.eval()
    after = loss_of(task, batch)
    assert after["total"] < 0.8 * before["total"]


def test_the_loss_is_random_by_torchs_generator_alone(name, make):
    task = make(name)
    batch = batch_of(task)
    task.model.train()
    losses = []
    for number in range(3):
        random.seed(number)
        np.random.seed(number)  # noqa: NPY002 - the old generator is what libraries draw from
        losses.append(loss_of(task, batch, seed=5))
    assert losses[0] == losses[1] == losses[2]
    task.model.eval()
    assert loss_of(task, batch, seed=1) == loss_of(task, batch, seed=2)


def test_padding_does_not_change_a_studys_loss(name, make):
    task = make(name)
    lengths = [sample.length for sample in task.encode(STUDIES).samples]
    shortest, longest = int(np.argmin(lengths)), int(np.argmax(lengths))
    alone = batch_of(task, (shortest,))
    padded = batch_of(task, (shortest, longest))
    for target in task.padding:
        assert padded.targets[target].shape[1] > alone.targets[target].shape[1]
    cut = type(padded)(
        padded.study_ids[:1],
        padded.images[:1],
        padded.view_mask[:1],
        {target: values[:1] for target, values in padded.targets.items()},
    )
    wanted = loss_of(task, alone)
    assert loss_of(task, cut) == pytest.approx(wanted, rel=1e-5)


def test_what_was_saved_loads_with_the_same_loss_and_drafts_bit_for_bit(name, make, tmp_path):
    task = make(name)
    batch = batch_of(task)
    with torch.no_grad():
        for weight in task.model.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
    for number in (1, 2):
        with torch.no_grad():
            task.settle(lambda: [batch])
        folder = tmp_path / str(number)
        task.save(folder)
        save_tensors(folder / "weights.safetensors", task.model.state_dict())
    assert (tmp_path / "1" / "weights.safetensors").read_bytes() == (
        tmp_path / "2" / "weights.safetensors"
    ).read_bytes()

    torch.manual_seed(99)
    again = type(task).load(tmp_path / "1", task.config)
    load_into(again.model, load_tensors(tmp_path / "1" / "weights.safetensors"), "weights")
    for training in (False, True):
        task.model.train(training)
        again.model.train(training)
        assert loss_of(again, batch) == loss_of(task, batch)
    assert (again.finding_names, again.padding) == (task.finding_names, task.padding)
    for one, other in zip(task.encode(STUDIES).samples, again.encode(STUDIES).samples, strict=True):
        assert {key: value.tolist() for key, value in one.targets.items()} == {
            key: value.tolist() for key, value in other.targets.items()
        }
    task.model.eval()
    again.model.eval()
    torch.manual_seed(1)
    drafts = task.draft(batch.images, batch.view_mask)
    torch.manual_seed(1)
    assert list(map(plain, again.draft(batch.images, batch.view_mask))) == list(map(plain, drafts))


def test_a_description_that_is_missing_broken_or_of_another_format_is_refused(name, make, tmp_path):
    task = make(name)
    with pytest.raises(CheckpointError):
        type(task).load(tmp_path / "absent", task.config)
    task.save(tmp_path)
    described = [path for path in tmp_path.glob("*.json") if '"format"' in path.read_text()]
    assert len(described) == 1
    whole = described[0].read_text()
    described[0].write_text(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError):
        type(task).load(tmp_path, task.config)
    described[0].write_text(re.sub(r'"format": \d+', '"format": 99', whole))
    with pytest.raises(CheckpointError, match="99"):
        type(task).load(tmp_path, task.config)


def test_each_study_gets_one_draft_of_its_own(name, make):
    task = make(name)
    with torch.no_grad():
        for weight in task.model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    batch = batch_of(task)
    drafts = task.draft(batch.images, batch.view_mask)
    assert len(drafts) == COUNT
    for row in (0, 1, COUNT - 1):
        alone = task.draft(batch.images[row : row + 1], batch.view_mask[row : row + 1])
        assert len(alone) == 1
        assert (alone[0].report, alone[0].answer) == (drafts[row].report, drafts[row].answer)
        assert plain(alone[0])["masks"] == plain(drafts[row])["masks"]
        for finding, said in drafts[row].findings.items():
            assert alone[0].findings[finding].status is said.status
            assert alone[0].findings[finding].probability == pytest.approx(said.probability, abs=1e-5)
        for target, said in drafts[row].values.items():
            assert alone[0].values[target].value == pytest.approx(said.value, rel=1e-4)


def test_probabilities_are_given_for_the_findings_that_are_named_and_no_other(name, make):
    task = make(name)
    batch = batch_of(task)
    for draft in task.draft(batch.images, batch.view_mask):
        given = {finding: said.probability for finding, said in draft.findings.items() if said.probability is not None}
        assert set(given) == set(task.finding_names)
        assert all(0 <= value <= 1 for value in given.values())
        assert all(isinstance(said.status, Status) for said in draft.findings.values())


def test_settling_sets_what_it_says_and_repeats(name, make):
    task = make(name)
    batch = batch_of(task)
    first = dict(task.settle(lambda: [batch]))
    assert all(np.isfinite(value) for value in first.values())
    assert dict(task.settle(lambda: iter([batch]))) == first
    assert not task.model.training
