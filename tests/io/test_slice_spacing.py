"""What is said of the distances between slices, by hand."""

import numpy as np
import pytest

from medmm.io.slice_spacing import slice_spacing_of


def spacing_of(along, beside=0.0):
    along = np.asarray(along, float)
    return slice_spacing_of(np.stack([along, along * beside, 0 * along], 1), 1.0)


def test_order_and_places():
    found = spacing_of([4, 0, 2, 2.001, 6])
    assert found.order == (1, 2, 3, 0, 4)
    assert found.places == (0, 1, 1, 2, 3)
    assert found.has_repeats
    np.testing.assert_allclose(found.along_mm, [0, 2, 2.001, 4, 6])
    assert not spacing_of([0]).has_repeats
    assert spacing_of([0]).notes() == ()


def test_even_within_the_digits_of_a_header():
    assert spacing_of([0, 0.62, 1.25, 1.88, 2.5]).notes() == ()


def test_gaps_are_named_with_place_and_width():
    found = spacing_of([0, 2, 4, 8, 10, 18, 20])
    assert found.notes() == (
        "Gap of 4.000 mm between slices 2 and 3, where 2.000 mm are usual: 1 slice is missing.",
        "Gap of 8.000 mm between slices 4 and 5, where 2.000 mm are usual: 3 slices are missing.",
    )
    np.testing.assert_array_equal(found.gaps, [False, False, True, False, True, False])


def test_many_gaps_are_counted():
    along = np.delete(np.arange(60) * 2.0, np.arange(4, 58, 5))
    notes = spacing_of(along).notes()
    assert len(notes) == 9
    assert notes[-1] == "3 more gaps follow."


def test_uneven_steps_are_named():
    [note] = spacing_of([0, 2, 4.5, 6.5, 8, 10]).notes()
    assert note == (
        "Uneven spacing: steps from 1.500 to 2.500 mm, 2.000 mm usual; the oddest is 2.500 mm between slices 1 and 2."
    )


@pytest.mark.parametrize(("beside", "tilted"), [(0.0, False), (0.004, False), (0.02, True)])
def test_tilt_begins_at_a_tenth_of_a_pixel(beside, tilted):
    assert spacing_of(np.arange(0, 20, 2), beside).is_tilted is tilted
