"""Marks of cases: what is slow is not run on every push, and marks that do nothing are errors."""

import pytest

CASES = """
    import pytest

    @pytest.mark.{mark}
    @pytest.mark.parametrize("number", [1, 2, 3], ids=["one", "two", "three"])
    def test_number(number):
        pass
"""


@pytest.mark.parametrize(
    ("mark", "quick"),
    [
        ('slow_cases("two")', 2),
        ('slow_cases("two", "one")', 1),
        ('slow_cases("four")', None),
        ('slow_cases("one", "two", "three")', None),
        ('quick_cases("two", "one")', 2),
        ('quick_cases("t")', 2),
        ('quick_cases("four")', None),
    ],
)
def test_cases_of_a_mark(pytester, mark, quick):
    pytester.makeini("[pytest]\nmarkers = slow")
    pytester.makepyfile(CASES.format(mark=mark))
    found = pytester.runpytest_inprocess("-p", "slow", "-p", "no:xdist", "-m", "not slow").parseoutcomes()
    expected = {"passed": quick, "deselected": 3 - quick} if quick else {"errors": 1}
    assert found == expected
