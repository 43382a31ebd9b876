"""The objectives with numbers, and what else the contract of tasks does not ask: texts alone, odd batches, weights."""

import math

import numpy as np
import pytest
import torch

from medmm.config.schema import Config
from medmm.data.cache import ImageCache
from medmm.data.dataset import StudyDataset
from medmm.errors import CheckpointError, DataError, UsageError
from medmm.models.pretrain_batch import PretrainOutput
from medmm.reports.parse import parse_report
from medmm.tasks import objectives
from medmm.tasks.pretraining import Pretraining
from medmm.types import ImageRef, Study

COUNT = 6
SIZES = {"layers": 1, "width": 32, "heads": 2, "vocabulary": 300, "max_tokens": 48, "dropout": 0.0}
ALL = {"local": 1.0, "masked_image": 1.0, "matching": 1.0, "views": 1.0}


def config(text=None, prompts=None, **pretrain):
    return Config.model_validate(
        {
            "task": "pretraining", "preprocess": {"size": 32}, "pretrain": {"width": 16, **pretrain},
            "model": {"encoder": {"width": 32}, "text": {**SIZES, **(text or {})}},
            "prompts": {"minimum": 2, **(prompts or {})},
        }
    )  # fmt: skip


def study(folder, number, views=2):
    side = ("left", "right")[number % 2]
    text = f"FINDINGS: There is a {side} lung nodule. The heart is normal." if number % 3 else "FINDINGS: No nodule."
    images = tuple(ImageRef(folder / f"{number}-{view}.png") for view in range(views))
    return Study(f"study {number}", f"patient {number}", images, parse_report(text))


@pytest.fixture
def studies(tmp_path):
    return [study(tmp_path, number) for number in range(COUNT)]


def batch_of(task, studies, number=COUNT):
    stored = np.random.default_rng(0).integers(0, 60000, (2 * COUNT, 1, 32, 32)).astype(np.uint16)
    cache = ImageCache(stored, {one.study_id: (2 * place, 2 * place + 1) for place, one in enumerate(studies)})
    data = StudyDataset(cache, task.encode(studies).samples, task.padding, seed=0)
    return data.batch(range(number), epoch=None)


def build(studies, **settings):
    torch.manual_seed(0)
    return Pretraining.build(config(**settings), studies)


@pytest.mark.parametrize("number", [1, 2, COUNT])
@pytest.mark.parametrize("settings", [{**ALL, "soften": 0.8}, {**ALL, "contrast": "sigmoid", "chunk": 2, "part": 1.0}])
def test_every_objective_takes_a_batch_of_any_size(studies, settings, number):
    task = build(studies, **settings)
    task.model.train()
    output = task.loss(task.model, batch_of(task, studies, number))
    output.total.backward()
    wanted = {"contrastive", "local", "masked_text", "masked_image", "matching"} | ({"views"} if number > 1 else set())
    assert set(output.parts) == wanted
    assert torch.isfinite(output.total)
    assert all(torch.isfinite(one.grad).all() for one in task.model.parameters() if one.grad is not None)
    assert [name for name, one in task.model.named_parameters() if one.grad is None] == []


def test_the_total_is_the_weighted_sum(studies):
    task = build(studies, contrastive=2.0, masked_text=0.25)
    task.model.eval()
    output = task.loss(task.model, batch_of(task, studies))
    assert set(output.parts) == {"contrastive", "masked_text"}
    wanted = 2 * output.parts["contrastive"] + 0.25 * output.parts["masked_text"]
    torch.testing.assert_close(output.total.detach(), wanted)


def test_the_masked_words_are_hidden_and_their_loss_counts_them_alone(studies):
    task = build(studies, part=1.0, text_mask=0.4)
    shown = objectives.show(task, batch_of(task, studies), learning=True)
    hidden = shown.hidden_words != -100
    ids, masked = shown.texts.ids_bt, shown.inputs.masked_ut
    assert torch.equal(masked[~hidden], ids[~hidden])
    assert (masked[hidden] == task.tokenizer.mask).all()
    assert torch.equal(shown.hidden_words[hidden], ids[hidden])
    assert not (hidden & ((ids == task.tokenizer.begin) | (ids == task.tokenizer.end) | ~shown.texts.mask_bt)).any()
    logits = torch.randn(*ids.shape, task.tokenizer.size)
    rows = -torch.log_softmax(logits, -1)[hidden].gather(1, ids[hidden][:, None])
    torch.testing.assert_close(objectives._told(logits, shown.hidden_words), rows.mean())
    assert objectives._told(logits, torch.full_like(ids, -100)) == 0


def output_of(**parts):
    return PretrainOutput(torch.eye(COUNT), torch.eye(COUNT), torch.tensor(1.0), **parts)


def test_what_is_completed_counts_where_it_was_hidden(studies):
    task = build(studies, contrastive=0, masked_text=0, masked_image=1.0)
    batch = batch_of(task, studies)
    shown = objectives.show(task, batch, learning=True)
    cells = task.model.encoder.count
    assert shown.inputs.hidden.shape == (2 * 3, cells)  # both views of half of the studies
    truth, told = torch.randn(6, cells, 9), torch.randn(6, cells, 9)
    found = objectives.add_up(task.config.pretrain, shown, output_of(completed=told, patches=truth), batch)
    wanted = (told - truth)[shown.inputs.hidden].square().mean()
    torch.testing.assert_close(found.parts["masked_image"], wanted)


def test_matching_is_a_binary_cross_entropy_of_right_and_wrong_pairs(studies):
    right, wrong, there = torch.tensor([0.5, -1.0]), torch.tensor([2.0, 9.0]), torch.tensor([True, False])
    found = objectives._matching(output_of(matched_u=right, mismatched_u=wrong, wrong_u=there))
    wanted = (math.log1p(math.exp(-0.5)) + math.log1p(math.e) + math.log1p(math.exp(2.0))) / 3
    assert float(found) == pytest.approx(wanted, rel=1e-5)


def test_no_right_pair_is_a_wrong_one(tmp_path):
    """Also where a report says that one sentence is not so and another that it is."""
    texts = ["FINDINGS: Left nodule. Right nodule. No effusion. Pleural effusion.", "FINDINGS: No nodule."] * 3
    own = [Study(str(place), str(place), (ImageRef(tmp_path / "a.png"),) * 2, parse_report(text))
           for place, text in enumerate(texts)]  # fmt: skip
    task = build(own, matching=1.0, part=1.0, excerpt=1.0)
    batch = batch_of(task, own)
    for seed in range(5):
        torch.manual_seed(seed)
        unlike = objectives.show(task, batch, learning=True).inputs.unlike_uu
        assert not unlike.diagonal().any()
    assert objectives.show(task, batch, learning=False).inputs.unlike_uu[0].tolist() == [False, True] * 3


def test_findings_nobody_states_are_none_and_all_still_works(studies):
    task = build(studies, prompts={"minimum": 100})
    assert task.findings == ()
    batch = batch_of(task, studies)
    assert torch.isfinite(task.loss(task.model, batch).total)
    task.model.eval()
    assert [dict(one.findings) for one in task.draft(batch.images, batch.view_mask)] == [{}] * COUNT


def test_probabilities_are_the_softmax_of_absence_and_presence(studies):
    task = build(studies)
    task.model.eval()
    assert task.findings == ("nodule",)
    batch = batch_of(task, studies)
    images = task.embed_images(batch.images, batch.view_mask)
    sides = [task.embed_texts(texts).mean(0) for texts in task.prompts.texts("nodule")]
    absent, present = (images @ (one / one.norm()) * task.model.scale for one in sides)
    wanted = torch.sigmoid(present - absent).detach()
    torch.testing.assert_close(task.probabilities(images)[:, 0], wanted)
    drafted = [one.findings["nodule"].probability for one in task.draft(batch.images, batch.view_mask)]
    assert drafted == pytest.approx(wanted.tolist(), abs=1e-5)
    with torch.no_grad():
        for weight in task.model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    again = task.embed_texts(task.prompts.texts("nodule")[0]).mean(0)
    torch.testing.assert_close(task.asking()[0, 0], again / again.norm())  # other weights, other vectors


def test_a_run_keeps_its_prompts_and_can_be_asked_in_others(studies, tmp_path):
    for name, word in (("mine", "spot"), ("other", "lump")):
        (tmp_path / f"{name}.yaml").write_text(f"present: ['{word} {{finding}}']\nabsent: ['no {word} {{finding}}']\n")
    task = build(studies, prompts={"file": str(tmp_path / "mine.yaml")})
    task.model.eval()
    task.save(tmp_path / "model")
    (tmp_path / "mine.yaml").unlink()
    again = Pretraining.load(tmp_path / "model", task.config)
    again.model.load_state_dict(task.model.state_dict())
    again.model.eval()
    torch.testing.assert_close(again.asking(), task.asking())
    asked = task.config.prompts.model_copy(update={"file": tmp_path / "other.yaml"})
    again.config = task.config.model_copy(update={"prompts": asked})
    told = again.embed_texts(["No lump nodule", "Lump nodule"])
    torch.testing.assert_close(again.asking()[0], told)
    assert again.prompts.present == ("lump {finding}",)


def test_unknown_words_are_named(studies):
    assert build(studies).unknown_words("nodule xqzjk") == ["xqzjk"]


@pytest.fixture
def openi(tmp_path):
    """Reports of Open-i without images; one of them has no text."""
    folder = tmp_path / "reports"
    folder.mkdir()
    for number in range(7):
        text = "" if number == 6 else "Clear lungs without effusion."
        parts = {"FINDINGS": text, "INDICATION": "Cough"}.items()
        said = "".join(f'<AbstractText Label="{label}">{words}</AbstractText>' for label, words in parts)
        (folder / f"{number}.xml").write_text(f'<eCitation><uId id="CXR{number}"/>{said}</eCitation>')
    return folder


def test_reports_without_images_teach_masked_words_alone(studies, openi):
    task = build(studies, texts=f"openi:{openi}", texts_batch=3)
    corpus = task.corpus()
    assert corpus.size == 6
    assert {task.tokenizer.decode(ids[1:]) for ids in corpus.ids} == {"Clear lungs without effusion."}
    assert task.unknown_words("effusion") == []  # the tokenizer has read them too
    batch = batch_of(task, studies)
    task.model.train()
    output = task.loss(task.model, batch)
    assert set(output.parts) == {"contrastive", "masked_text", "text_alone"}
    shown = objectives.show(task, batch, learning=True)
    assert shown.inputs.alone_ids.shape[0] == 3
    task.model.eval()
    assert "text_alone" not in task.loss(task.model, batch).parts


@pytest.mark.parametrize(
    ("texts", "kind", "said"),
    [
        ("openi", UsageError, "READER:PATH"),
        ("openi:{folder}/absent", DataError, "pretrain.texts"),
        ("openi:{folder}", DataError, "no report to learn from"),
    ],
)
def test_texts_that_cannot_be_had_are_refused(studies, openi, texts, kind, said):
    for path in openi.iterdir():
        path.write_text(path.read_text().replace("FINDINGS", "COMPARISON"))
    with pytest.raises(kind, match=said):
        build(studies, texts=texts.format(folder=openi))


def test_studies_without_a_text_are_refused(tmp_path):
    bare = [Study("s", "p", (ImageRef(tmp_path / "a.png"),), parse_report("INDICATION: Cough."))]
    with pytest.raises(DataError, match="no training study has a text"):
        build(bare)


def test_somebodys_language_model_is_the_text_tower(studies, tmp_path):
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path / "bert"
    folder.mkdir()
    letters = "abcdefghijklmnopqrstuvwxyz."
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{one}" for one in letters), "lung", "nodule"]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=40, **sizes)).save_pretrained(folder)
    task = build(studies, text={"source": str(folder)})
    assert (task.longest, task.pretrained is task.model.text) == (40, True)
    batch = batch_of(task, studies)
    task.model.train()
    task.loss(task.model, batch).total.backward()
    assert [name for name, one in task.model.named_parameters() if one.grad is None] == []
    ids = objectives.show(task, batch, learning=False).texts.ids_bt
    assert set(ids[:, 0].tolist()) == {words.index("[CLS]")}
    task.save(tmp_path / "model")
    again = Pretraining.load(tmp_path / "model", task.config)
    assert again.model.state_dict().keys() == task.model.state_dict().keys()
    assert again.model.text.width == 32
    assert task.unknown_words("lung") == []
    with pytest.raises(CheckpointError):
        build(studies, text={"source": str(tmp_path / "reports")})
