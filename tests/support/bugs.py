"""Bugs, seen in real code bases, beside the oracles that must notice them.

    @bug("beta for beta-tilde", steps, "posterior_var", steps.transition_var)
    def test_bayes_rule_holds(): ...

The test runs once as it is. `pytest -m bugs` runs it once more for each bug, with the bug planted, and demands that an
assertion of the test fails. Keywords say which cases of a parametrised test must notice the bug.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pytest
from torch import Tensor


@dataclass(frozen=True)
class Bug:
    """A replacement for an attribute of a module or a class, and the case of the oracle that must notice it."""

    name: str
    target: Any
    attribute: str
    replacement: Any
    case: dict[str, Any]

    def concerns(self, item: pytest.Function) -> bool:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        return all(name in parameters and _same(parameters[name], value) for name, value in self.case.items())


def _same(a: Any, b: Any) -> bool:
    return a is b or (not isinstance(a, Tensor) and bool(a == b))


def bug(name: str, target: Any, attribute: str, replacement: Any, /, **case: Any) -> Callable[[Any], Any]:
    """Make a test an oracle, which must fail once `target.attribute` is replaced."""

    def beside(oracle: Any) -> Any:
        oracle.bugs = [Bug(name, target, attribute, replacement, case), *getattr(oracle, "bugs", ())]
        return oracle

    return beside


def _planted(item: pytest.Function, bug: Bug) -> pytest.Function:
    made = pytest.Function.from_parent(
        item.parent,
        name=f"{item.originalname}[{bug.name}]",
        callspec=getattr(item, "callspec", None),
        callobj=item.obj,
        fixtureinfo=item._fixtureinfo,
    )
    made.bug = bug
    made.add_marker("bugs")
    return made


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(collector: Any, name: str, obj: Any) -> Iterator[None]:
    items = yield
    for bug in getattr(obj, "bugs", ()) if isinstance(items, list) else ():
        concerned = [item for item in items if not hasattr(item, "bug") and bug.concerns(item)]
        if not concerned:
            raise collector.CollectError(f"{name}: no case of it must notice {bug.name!r}")
        items += [_planted(item, bug) for item in concerned]
    return items


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    bug = getattr(pyfuncitem, "bug", None)
    if bug is None:
        return (yield)
    with mock.patch.object(bug.target, bug.attribute, bug.replacement):
        try:
            yield
        except AssertionError:
            return True
    return pytest.fail(f"{bug.name!r} goes unnoticed", pytrace=False)
