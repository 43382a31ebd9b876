"""A search for prompts over a stand-in whose texts lie where the test puts them."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from medmm.errors import DataError
from medmm.scoring import prompt_page
from medmm.scoring.prompt_search import PromptSearch
from medmm.tasks.few_shot import Told
from medmm.tasks.prompts import Prompts, load_prompts

NAMES = ("edema", "mass")
PACKAGED = Prompts(("There is {finding}.",), ("No {finding}.",))
PLANTED, DENIED = "Planted {finding}.", "Denied {finding}."


def embed(texts):
    """A finding's axis where the template is the planted one, noise of the text's length elsewhere."""
    rows = []
    for text in texts:
        axis = 0 if "edema" in text else 1
        row = torch.zeros(6, dtype=torch.float64)
        row[axis] = {"Planted": 1.0, "Denied": -1.0, "There": 0.1}.get(text.split()[0], 0.0)
        row[2 + len(text) % 4] = 1.0 - row[axis].abs()
        rows.append(row / row.norm())
    return torch.stack(rows)


@pytest.fixture
def val():
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 2, (60, 2)).astype(float)
    vectors = draw.normal(size=(60, 6))
    vectors[:, :2] += 1.5 * (2 * truth - 1)
    return Told(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), truth, np.ones((60, 2), bool))


def test_a_planted_template_wins_by_what_scikit_learn_says(val):
    more = Prompts((PLANTED, "Small {finding}."), ("Free of {finding}.", DENIED))
    search = PromptSearch(val, NAMES, PACKAGED, more, embed)
    prompts, found = search.run()
    assert (found["single"]["present"], found["single"]["absent"]) == ([PLANTED], [DENIED])
    own = [roc_auc_score(val.truth[:, place], val.vectors[:, place]) for place in (0, 1)]
    assert found["single"]["auroc_macro"] == pytest.approx(np.mean(own), abs=1e-12)
    asking = PACKAGED.vectors(NAMES, embed).numpy()
    packaged = [
        roc_auc_score(val.truth[:, place], val.vectors @ (asking[place, 1] - asking[place, 0])) for place in (0, 1)
    ]
    assert found["packaged"]["auroc_macro"] == pytest.approx(np.mean(packaged), abs=1e-12)
    assert [found["findings"][name]["packaged"] for name in NAMES] == pytest.approx(packaged)
    ensemble = prompts.vectors(NAMES, embed).numpy()
    told = [roc_auc_score(val.truth[:, at], val.vectors @ (ensemble[at, 1] - ensemble[at, 0])) for at in (0, 1)]
    assert found["ensemble"]["auroc_macro"] == pytest.approx(np.mean(told), abs=1e-12)
    assert found["gain"] == pytest.approx(np.mean(told) - np.mean(packaged))
    assert found["gain"] > 0.1
    assert PLANTED in prompts.present
    rising = [one["auroc_macro"] for one in found["ensemble"]["path"]]
    assert rising == sorted(rising)
    low, high = search.intervals(prompts, [str(row) for row in range(60)], 200, 0)
    assert 0 < low < found["gain"] < high


def test_what_is_packaged_stays_where_nothing_is_better(val):
    packaged = Prompts((PLANTED,), (DENIED,))
    prompts, found = PromptSearch(val, NAMES, packaged, Prompts(("A {finding}.",), ("B {finding}.",)), embed).run()
    assert (prompts.present[0], prompts.absent[0]) == (PLANTED, DENIED)
    assert found["gain"] >= 0


def test_a_finding_without_positives_is_left_out(val):
    val.truth[:, 1] = 0
    search = PromptSearch(val, NAMES, PACKAGED, PACKAGED, embed)
    assert (search.names, search.left_out) == (("edema",), ("mass",))
    val.truth[:, 0] = 1
    with pytest.raises(DataError, match="prompts cannot be compared"):
        PromptSearch(val, NAMES, PACKAGED, PACKAGED, embed)


def test_the_packaged_candidates_hold_the_packaged_prompts_and_the_users(tmp_path):
    (tmp_path / "own.yaml").write_text(
        'present: ["Own {finding}."]\nabsent: ["No own {finding}."]\nnames: {edema: [wet lung]}\n'
    )
    both = prompt_page.candidates(tmp_path / "own.yaml")
    assert both.present[-1] == "Own {finding}."
    assert set(load_prompts(None).present[:2]) <= set(both.present)
    assert both.names == {"edema": ("wet lung",)}
    both.save(tmp_path / "saved.yaml")
    assert load_prompts(tmp_path / "saved.yaml") == both
