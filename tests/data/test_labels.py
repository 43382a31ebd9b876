"""Names of masks' values: the config's before the layout's, in either direction."""

from __future__ import annotations

import pytest

from medmm.config.load import load
from medmm.data.labels import mask_labels
from medmm.errors import ConfigError


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {}),
        (["data.labels.liver=1", "data.labels.tumour=[2, 3]"], {"liver": (1,), "tumour": (2, 3)}),
        (["data.labels={background: 0, liver: 1}"], {"liver": (1,)}),
        (["data.labels={0: background, 1: liver, 2: tumour}"], {"liver": (1,), "tumour": (2,)}),
        (["data.labels.1=liver", "data.labels.2=liver"], {"liver": (1, 2)}),
    ],
)
def test_labels_of_a_table(words, expected):
    assert mask_labels(load(None, None, ["data.reader=table", "data.path=t.csv", *words]).data) == expected


@pytest.mark.parametrize("word", ["data.labels.liver=left", "data.labels.liver=0", "data.labels=3"])
def test_labels_that_are_none(word):
    with pytest.raises(ConfigError, match=r"data\.labels"):
        load(None, None, [word])
