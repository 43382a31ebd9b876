import pytest

from medmm.scoring.markdown import finer, interval, number, p_value, table


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (number(0.12345), "0.123"),
        (number(None), "–"),
        (finer(0.0301), "+0.030"),
        (finer(-0.0301), "-0.030"),
        (finer(-0.0001), "0.000"),
        (interval((-0.0001, 0.5)), "0.000 to 0.500"),
        (interval(None), "–"),
        (p_value(0.0004), "< 0.001"),
        (p_value(0.0305), "0.030"),
        (p_value(None), "–"),
    ],
)
def test_numbers_as_people_read_them(said, text):
    assert said == text


def test_a_table_in_markdown():
    assert table(("a", "b"), [("x", "1")]) == "| a | b |\n| --- | ---: |\n| x | 1 |"
