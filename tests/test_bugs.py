"""Planted bugs: a test that notices its bug passes, one that does not, or breaks differently, fails."""

import pytest

ORACLES = """
    import pytest
    from bugs import bug

    class Sum:
        def of(self, a, b):
            return a + b

    @bug("difference for sum", Sum, "of", lambda self, a, b: a - b{case})
    @pytest.mark.parametrize("b", [0, 2])
    def test_of(b):
        total = Sum().of(1, b)
        {check}
"""


def outcomes(pytester, *words, case="", check="assert total == 1 + b"):
    pytester.makeini("[pytest]\nmarkers = bugs")
    pytester.makepyfile(ORACLES.format(case=case, check=check))
    return pytester.runpytest_inprocess("-p", "bugs", "-p", "no:xdist", *words).parseoutcomes()


@pytest.mark.parametrize(
    ("case", "check", "expected"),
    [
        (", b=2", "assert total == 1 + b", {"passed": 1, "deselected": 2}),
        ("", "assert total == 1 + b", {"passed": 1, "failed": 1, "deselected": 2}),
        (", b=2", "assert total", {"failed": 1, "deselected": 2}),
        (", b=2", "[][total]", {"failed": 1, "deselected": 2}),
        (", b=3", "assert total == 1 + b", {"errors": 1}),
    ],
    ids=["noticed", "noticed in one case of two", "unnoticed", "broken", "no such case"],
)
def test_a_planted_bug_must_fail_an_assertion(case, check, expected, pytester):
    assert outcomes(pytester, "-m", "bugs", case=case, check=check) == expected


def test_without_its_bugs_an_oracle_runs_once(pytester):
    assert outcomes(pytester, "-m", "not bugs", case=", b=2") == {"passed": 2, "deselected": 1}
