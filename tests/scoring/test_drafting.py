from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from medmm.config.schema import Config
from medmm.errors import CheckpointError, UsageError
from medmm.scoring.drafting import adopt, draft_all, stack


def _loaded(config):
    """What :func:`adopt` needs of a loaded run."""
    task = SimpleNamespace(config=config)
    return SimpleNamespace(task=task, config=config)


def test_stack_leaves_missing_views_black_and_masked():
    one, two = np.full((1, 1, 4, 4), 0.5, np.float32), np.full((2, 1, 4, 4), 0.25, np.float32)
    images, mask = stack([one, two])
    assert images.shape == (2, 2, 1, 4, 4)
    assert mask.tolist() == [[True, False], [True, True]]
    assert images.mean(axis=(2, 3, 4)).tolist() == [[0.5, 0.0], [0.25, 0.25]]


def _note(said, *words):
    said.append(words[:2])


def test_drafts_come_in_order_whatever_the_batch(grey_model):
    drafts = [f"Draft {number}." for number in range(26)]
    views = {f"s{level}": np.full((1, 1, 8, 8), level * 10 / 255, np.float32) for level in range(9)}
    for size in (1, 2, 4, 100):
        said = []
        found = draft_all(grey_model(drafts), list(views), views.__getitem__, size, partial(_note, said))
        assert [one.report for one in found] == drafts[:9]
        assert said[-1] == (9, 9)


def test_a_run_is_not_asked_for_what_it_was_not_trained_for():
    with pytest.raises(UsageError, match="another task; got vqa; expected report_gen"):
        adopt(_loaded(Config()), Config(task="vqa"))


def test_generation_settings_are_adopted():
    config = Config()
    wanted = config.model_copy(update={"generate": config.generate.model_copy(update={"strategy": "beam"}), "seed": 5})
    model = adopt(_loaded(config), wanted)
    assert model.task.config.generate.strategy == "beam"
    assert model.task.config.seed == 5


@pytest.mark.parametrize(("part", "key", "value"), [("preprocess", "size", 96), ("model", "max_views", 1)])
def test_what_belongs_to_the_weights_is_not(part, key, value):
    config = Config()
    changed = getattr(config, part).model_copy(update={key: value})
    with pytest.raises(CheckpointError, match=f"{part}.{key}"):
        adopt(_loaded(config), config.model_copy(update={part: changed}))
