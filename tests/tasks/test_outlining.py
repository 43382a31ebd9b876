"""Windows to whole images, and the choice of what is done to masks."""

import numpy as np
import torch
from monai.inferers import SlidingWindowInferer

from medmm.config.schema import Config
from medmm.data.outline_code import OutlineCode
from medmm.tasks.outlining import choose_cleaning, clean, scores_of

CONFIG = Config.model_validate({"train": {"precision": "fp32"}, "segmentation": {"overlap": 0.5}})


class Blurred(torch.nn.Module):
    """Two maps that depend on what lies around a voxel."""

    def __init__(self):
        super().__init__()
        self.look = torch.nn.Conv3d(1, 2, 3, padding=1)

    def forward(self, images):
        return [self.look(images)]


def test_windows_are_weighed_as_monais_sliding_window_inferer_does():
    torch.manual_seed(0)
    model, image = Blurred().eval(), torch.rand(1, 20, 34, 30)
    with torch.no_grad():
        found = scores_of(model, image, (16, 16, 16), True, CONFIG)
        theirs = SlidingWindowInferer((16, 16, 16), overlap=0.5, mode="gaussian")(
            image[None], lambda window: model(window)[0].softmax(1)
        )
    np.testing.assert_allclose(found, theirs[0].numpy(), atol=1e-5)


def test_an_image_smaller_than_the_window_is_seen_whole():
    torch.manual_seed(0)
    model, image = Blurred().eval(), torch.rand(1, 5, 16, 9)
    with torch.no_grad():
        assert scores_of(model, image, (16, 16, 16), False, CONFIG).shape == (2, 5, 16, 9)


def test_mirrored_views_are_averaged():
    torch.manual_seed(0)
    model, image = Blurred().eval(), torch.rand(1, 16, 16, 16)
    config = CONFIG.model_copy(update={"segmentation": CONFIG.segmentation.model_copy(update={"mirror": True})})
    with torch.no_grad():
        both = scores_of(model, image, (16, 16, 16), True, config)
        mirrored = scores_of(model, image.flip(-1), (16, 16, 16), True, config)
    np.testing.assert_allclose(both, mirrored[..., ::-1], atol=1e-6)


def test_what_is_done_to_masks_is_what_serves_each_class():
    code = OutlineCode(("speckled", "hollow", "fine"), exclusive=False)
    true = {name: np.zeros((40, 40), bool) for name in code.classes}
    for mask in true.values():
        mask[10:30, 10:30] = True
    drawn = {name: mask.copy() for name, mask in true.items()}
    drawn["speckled"][2:7, 2:7] = True
    drawn["hollow"][18:22, 18:22] = False
    pair = (code.encode(drawn, (40, 40)), code.encode(true, (40, 40)))
    chosen = choose_cleaning([pair, pair], code)
    assert chosen == [(True, False), (False, True), (False, False)]
    after = clean(pair[0].copy(), code, *zip(*chosen, strict=True))
    np.testing.assert_array_equal(after, pair[1])


def test_a_hole_is_not_filled_over_another_class():
    code = OutlineCode(("shell", "core"), exclusive=True)
    coded = np.zeros((20, 20), np.uint8)
    coded[4:16, 4:16], coded[8:12, 8:12], coded[6, 6] = 1, 2, 0
    after = clean(coded.copy(), code, [0, 0], [1, 0])
    assert after[6, 6] == 1
    assert (after == 2).sum() == 16


def test_what_is_done_to_masks_is_judged_where_they_are_labelled():
    code = OutlineCode(("organ",), exclusive=False)
    true, drawn = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    true[10:30, 10:30], drawn[10:30, 10:30], drawn[2:7, 2:7] = True, True, True
    speck = np.zeros((40, 40), bool)
    speck[:8] = True
    one = code.encode({"organ": drawn}, (40, 40))
    assert choose_cleaning([(one, code.encode({"organ": true}, (40, 40)))], code) == [(True, False)]
    assert choose_cleaning([(one, code.encode({"organ": true, "ignore": speck}, (40, 40)))], code) == [(False, False)]
