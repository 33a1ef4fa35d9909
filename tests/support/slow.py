"""Which cases of a parametrised test are quick enough for every push; the others run with `pytest -m slow`.

    @pytest.mark.slow_cases("LearnedSchedule", "100 steps")  # those whose id has one of these words are slow
    @pytest.mark.quick_cases("line-10 steps")                # all the others are slow

A word that no case has is an error, and so are marks that leave no case quick: that is what `slow` is for.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow_cases(*words): the cases whose id has one of the words are slow")
    config.addinivalue_line("markers", "quick_cases(*words): the cases whose id has none of the words are slow")


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(collector: Any, name: str, obj: Any) -> Iterator[None]:
    items = yield
    for item in items if isinstance(items, list) else ():
        if _is_slow(item):
            item.add_marker("slow")
    if isinstance(items, list):
        _require_use(collector, name, items)
    return items


def _is_slow(item: pytest.Item) -> bool:
    slow, quick = (_words(item, mark) for mark in ("slow_cases", "quick_cases"))
    return _has(item, slow) or (bool(quick) and not _has(item, quick))


def _has(item: pytest.Item, words: Sequence[str]) -> bool:
    return any(word in item.callspec.id for word in words) if hasattr(item, "callspec") else False


def _words(item: pytest.Item, mark: str) -> list[str]:
    return [word for each in item.iter_markers(mark) for word in each.args]


def _require_use(collector: Any, name: str, items: Sequence[pytest.Item]) -> None:
    words = {word for item in items for mark in ("slow_cases", "quick_cases") for word in _words(item, mark)}
    unused = [word for word in words if not any(_has(item, [word]) for item in items)]
    if unused:
        raise collector.CollectError(f"{name}: no case has {unused[0]!r} in its id")
    if words and all(item.get_closest_marker("slow") for item in items):
        raise collector.CollectError(f"{name}: no case is quick, need the mark slow")
