"""Change one operator, number, argument or name of a room at a time, and count the changes that its tests notice.

    python benchmarks/mutation.py process --sample 400

The changes are those of mutmut (`pip install -e '.[mutation]'`), which itself leaves out properties and the defaults of
dataclasses. A change of a function is put into a process that has collected the tests, by its code object, so that a
mutant costs a fork instead of an import; a change of a class or a module is imported anew. The tests that reach the
change run from the quickest on, until one fails. The results are added to a file, and `--again` repeats those that
survived. docs/mutation.md says what is left out, and which survivors change nothing.
"""

from __future__ import annotations

import argparse
import functools
import gc
import hashlib
import json
import math
import os
import re
import resource
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import coverage
import libcst as cst
import pytest
import torch
from _pytest.runner import runtestprotocol
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "inkwash"
ROOMS = ("process", "denoise", "likelihood", "sample")
PYTEST = ("-n", "0", "-s", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0")
SECONDS, MEMORY = 3600, 6 << 30  # the most that the tests of a mutant may take, by the clock and in bytes
_REFUSED, _IMPORT_FAILS = 3, 4  # how a process may end
LEFT_OUT = (cst.Annotation, cst.Decorator, cst.Import, cst.ImportFrom)


@dataclass(frozen=True)
class Mutant:
    """One change. The name stays the same while the function around the change does."""

    name: str
    room: str
    where: str
    before: str
    after: str
    lines: tuple[int, int]
    file: str
    source: Callable[[], str]
    in_function: bool
    in_message: bool


class Finder(cst.CSTVisitor):
    """The mutants of a file; those of messages are marked. Annotations, decorators and imports have none."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, file: Path, wrapper: MetadataWrapper) -> None:
        super().__init__()
        self.file, self.module, self.text = file, wrapper.module, file.read_text("utf-8").splitlines()
        self.above: list[cst.CSTNode] = []
        self.found: list[Mutant] = []
        self.seen: Counter[str] = Counter()

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, LEFT_OUT) or self._is_left_out(node):
            self.above.append(node)
            return False
        for kind, operator in mutation_operators:
            if isinstance(node, kind) and not isinstance(node, cst.Param):
                self.found += [self._mutant(node, changed) for changed in operator(node)]
        self.above.append(node)
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        self.above.pop()

    def _is_left_out(self, node: cst.CSTNode) -> bool:
        """Whether a node is a docstring, the list of public names, or a name of a type."""
        if isinstance(node, cst.Expr):
            return isinstance(node.value, cst.BaseString)
        return isinstance(node, cst.Assign) and bool(re.match("__all__|_?[A-Z][a-z]", self.module.code_for_node(node)))

    def _mutant(self, node: cst.CSTNode, changed: cst.CSTNode) -> Mutant:
        before, after = (" ".join(self.module.code_for_node(each).split()) for each in (node, changed))
        path = str(self.file.relative_to(SOURCE))
        names = [each.name.value for each in self.above if isinstance(each, cst.FunctionDef | cst.ClassDef)]
        first, last = self._lines(node)
        line = " ".join(" ".join(self.text[first - 1 : last]).split())
        identity = "|".join((path, *names, line, before, after))
        self.seen[identity] += 1
        return Mutant(
            name=hashlib.sha256(f"{identity}|{self.seen[identity]}".encode()).hexdigest()[:8],
            room=path.split("/")[0],
            where=f"{path}: {'.'.join(names)}",
            before=line,
            after=line.replace(before, f"«{after}»") if line.count(before) == 1 else f"{line}  «{before} → {after}»",
            lines=(first, last),
            file=str(self.file),
            source=lambda: self.module.deep_replace(node, changed).code,
            in_function=self._is_in_function(),
            in_message=self._is_in_message(node),
        )

    def _lines(self, node: cst.CSTNode) -> tuple[int, int]:
        """The lines of the statement around a node, or of the node where the statement has a body."""
        statements = [each for each in self.above if isinstance(each, cst.SimpleStatementLine)]
        place = self.get_metadata(PositionProvider, statements[-1] if statements else node, None)
        place = place or self.get_metadata(PositionProvider, self.above[-1])
        return place.start.line, place.end.line

    def _is_in_message(self, node: cst.CSTNode) -> bool:
        """Whether a node is a part of an error, a sentence, or the name of an option in a check of it."""
        if any(isinstance(each, cst.Raise) for each in [*self.above, node]):
            return True
        if not isinstance(node, cst.BaseString):
            return False
        calls = [self.module.code_for_node(each.func) for each in self.above if isinstance(each, cst.Call)]
        return " " in self.module.code_for_node(node) or any(name.startswith("require_") for name in calls)

    def _is_in_function(self) -> bool:
        """Whether a node is part of what a function does, not of its defaults."""
        outer = next((i for i, each in enumerate(self.above) if isinstance(each, cst.FunctionDef)), None)
        return outer is not None and self.above[outer + 1 : outer + 2] == [self.above[outer].body]  # type: ignore[attr-defined]


def mutants_of(room: str) -> list[Mutant]:
    found: list[Mutant] = []
    for file in sorted((SOURCE / room).rglob("*.py")):
        wrapper = MetadataWrapper(cst.parse_module(file.read_text("utf-8")))
        finder = Finder(file, wrapper)
        wrapper.visit(finder)
        found += finder.found
    return sorted(found, key=lambda mutant: mutant.name)


class Loop:
    """A plugin that hands the collected tests to a function, instead of running them."""

    def __init__(self, function: Callable[[list[pytest.Item]], None]) -> None:
        self.function = function

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Interrupted("collection failed")
        self.function(session.items)
        return True


def collect(folders: list[str], function: Callable[[list[pytest.Item]], None]) -> int:
    return int(pytest.main([*PYTEST, *folders], plugins=[Loop(function)]))


def in_child(function: Callable[[int], None], *, seconds: int = 0) -> tuple[str, int]:
    """Run a function in a forked process: what it wrote to its pipe, and how the process ended."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        if seconds:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
        try:
            function(writer)
        except BaseException:
            os.write(writer, traceback.format_exc().encode())
        os._exit(1)  # otherwise the function has left
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read().decode()
    return text, os.waitpid(child, 0)[1]


@dataclass(frozen=True)
class Reach:
    """Which tests reach which lines, and the processor time of each test."""

    lines: dict[str, dict[str, list[str]]]
    seconds: dict[str, float]

    def tests(self, mutant: Mutant, budget: float) -> list[str]:
        """The tests that reach a mutant, or all if it is in no function, as far as the budget goes.

        One case of each comes first, from the quickest on.
        """
        lines = self.lines.get(mutant.file, {})
        first, last = mutant.lines
        near = [lines.get(str(i), []) for i in range(first, last + 1)] if mutant.in_function else [list(self.seconds)]
        reached = sorted({test for tests in near for test in tests}, key=lambda test: (self.seconds[test], test))
        cases: Counter[str] = Counter()
        ranked = []
        for test in reached:
            function = test.split("[")[0]
            ranked.append((cases[function], test))
            cases[function] += 1
        spent, within = 0.0, []
        for _, test in sorted(ranked, key=lambda pair: (pair[0], self.seconds[pair[1]], pair[1])):
            spent += self.seconds[test]
            if spent > budget and within:
                break
            within.append(test)
        return within


def measure(room: str, folders: list[str]) -> Reach:
    """Run all tests once, and note what they reach."""
    seconds: dict[str, float] = {}
    watch = coverage.Coverage(data_file=None, include=[f"{SOURCE / room}/*"], config_file=False)

    def watched(items: list[pytest.Item]) -> None:
        watch.start()
        for item, following in zip(items, [*items, None][1:], strict=True):
            watch.switch_context(item.nodeid)
            began = os.times()
            reports = runtestprotocol(item, log=False, nextitem=following)
            seconds[item.nodeid] = os.times().user - began.user + 0.001
            if any(report.failed for report in reports):
                sys.exit(f"{item.nodeid} fails without a mutant")
        watch.stop()

    def write(pipe: int) -> None:
        collect(folders, watched)
        data = watch.get_data()
        lines = {file: data.contexts_by_lineno(file) for file in data.measured_files()}
        reached = {file: {str(i): [c for c in tests if c] for i, tests in by.items()} for file, by in lines.items()}
        with os.fdopen(pipe, "wb") as out:
            out.write(json.dumps({"lines": reached, "seconds": seconds}).encode())
        os._exit(0)

    text, status = in_child(write)
    if status:
        sys.exit(f"the tests of {room} fail without a mutant")
    return Reach(**json.loads(text))


def functions_of(code: CodeType) -> Iterator[CodeType]:
    """The functions of a module and of its classes."""
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from [each] if each.co_flags & 1 else functions_of(each)  # classes are not optimised


def compiled(source: str, file: str) -> CodeType:
    return compile(source, file, "exec", dont_inherit=True)  # otherwise annotations become words, as they are here


@dataclass(frozen=True)
class Alive:
    """The functions of the package by their code, and the functions that remember results."""

    functions: dict[CodeType, list[FunctionType]]
    caches: list[Any]

    @classmethod
    def now(cls) -> Alive:
        """Those that exist now; the collector leaves them alone from now on, so that forks share their memory."""
        functions: dict[CodeType, list[FunctionType]] = {}
        caches = []
        for each in gc.get_objects():
            if type(each) is FunctionType and each.__code__.co_filename.startswith(str(SOURCE)):
                functions.setdefault(each.__code__, []).append(each)
            elif type(each) is functools._lru_cache_wrapper and str(each.__module__).startswith("inkwash"):
                caches.append(each)
        gc.collect()
        gc.freeze()
        return cls(functions, caches)

    def plant(self, file: str, source: str) -> None:
        """Put the changed code into the functions, and forget what they have remembered."""
        old, new = (list(functions_of(compiled(text, file))) for text in (Path(file).read_text("utf-8"), source))
        changed = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
        affected = [(function, after) for before, after in changed for function in self.functions.get(before, ())]
        if changed and not affected:
            raise ValueError("no function has this code")
        for function, after in affected:
            function.__code__ = after
        for cache in self.caches:
            cache.cache_clear()


def import_all_but_ours(folders: list[str]) -> None:
    """Import what the tests import, and forget our own modules and the tests."""
    collect(folders, lambda items: None)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(ROOT)) and name != "__main__":
            del sys.modules[name]


def import_changed(file: str, source: str) -> None:
    """From now on, importing the file gives the changed module."""
    original = SourceFileLoader.get_code

    def get_code(loader: SourceFileLoader, name: str) -> Any:
        return compiled(source, file) if loader.path == file else original(loader, name)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign]


def first_failure(items: list[pytest.Item], seconds: dict[str, float]) -> str:
    """The first test that fails, or nothing. One that takes ten times its time ends the process."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    for item, following in zip(items, [*items, None][1:], strict=True):
        signal.setitimer(signal.ITIMER_PROF, 5 + 10 * seconds[item.nodeid])
        if any(report.failed for report in runtestprotocol(item, log=False, nextitem=following)):
            return item.nodeid
    return ""


def verdict(text: str, status: int) -> tuple[str, str]:
    if os.WIFSIGNALED(status):
        signals = {signal.SIGPROF: "timeout", signal.SIGALRM: "timeout"}
        return signals.get(signal.Signals(os.WTERMSIG(status)), "killed"), signal.Signals(os.WTERMSIG(status)).name
    if status and os.WEXITSTATUS(status) == 1:
        raise RuntimeError(text)
    if status:
        return {_REFUSED: ("refused", ""), _IMPORT_FAILS: ("killed", "the import fails")}[os.WEXITSTATUS(status)]
    return ("killed", text) if text else ("survived", "")


@dataclass(frozen=True)
class Collected:
    """The tests of a room, ready to run."""

    items: dict[str, pytest.Item]
    alive: Alive
    reach: Reach


def try_planted(mutant: Mutant, ready: Collected, tests: list[str]) -> tuple[str, str]:
    def run(pipe: int) -> None:
        try:
            ready.alive.plant(mutant.file, mutant.source())
        except ValueError:  # the code uses other names of the function around it, so that it does not fit
            os._exit(_REFUSED)
        os.write(pipe, first_failure([ready.items[test] for test in tests], ready.reach.seconds).encode())
        os._exit(0)

    return verdict(*in_child(run, seconds=SECONDS))


def try_imported(mutant: Mutant, folders: list[str], tests: list[str], reach: Reach) -> tuple[str, str]:
    def run(pipe: int) -> None:
        import_changed(mutant.file, mutant.source())

        def judge(items: list[pytest.Item]) -> None:
            named = {item.nodeid: item for item in items}
            missing = [test for test in tests if test not in named]
            os.write(
                pipe, (missing[0] if missing else first_failure([named[t] for t in tests], reach.seconds)).encode()
            )
            os._exit(0)

        collect(folders, judge)
        os._exit(_IMPORT_FAILS)

    return verdict(*in_child(run, seconds=SECONDS))


def require_survival(ready: Collected, budget: float = 0.3) -> None:
    """What changes nothing must survive."""
    for file, lines in ready.reach.lines.items():
        text = Path(file).read_text("utf-8")
        same = Mutant("", "", "", "", "", (1, len(text)), file, lambda text=text: text, True, False)  # type: ignore[misc]
        if lines and (judged := try_planted(same, ready, ready.reach.tests(same, budget)))[0] != "survived":
            raise RuntimeError(f"{file}: a change of nothing was {judged}")


def judge_all(mutants: list[Mutant], folders: list[str], reach: Reach, options: argparse.Namespace) -> None:
    """Try every mutant, and add what became of it to the results."""

    def note(mutant: Mutant, judged: tuple[str, str]) -> None:
        facts = {key: value for key, value in asdict(mutant).items() if isinstance(value, str)}
        with options.results.open("a") as out:
            out.write(json.dumps(facts | {"status": judged[0], "by": judged[1]}) + "\n")

    def planted(items: list[pytest.Item]) -> None:
        ready = Collected({item.nodeid: item for item in items}, Alive.now(), reach)
        require_survival(ready)
        for mutant in (each for each in mutants if each.in_function):
            tests = reach.tests(mutant, options.budget)
            note(mutant, try_planted(mutant, ready, tests) if tests else ("survived", "no test reaches it"))

    def run(pipe: int) -> None:
        os._exit(collect(folders, planted))

    if any(each.in_function for each in mutants) and in_child(run)[1]:
        sys.exit("the tests could not be collected")
    import_all_but_ours(folders)
    done = read(options.results)
    for mutant in (each for each in mutants if not each.in_function or done[each.name]["status"] == "refused"):
        note(mutant, try_imported(mutant, folders, reach.tests(mutant, options.budget), reach))


def read(results: Path) -> dict[str, dict[str, str]]:
    """The last result of each mutant."""
    lines = results.read_text("utf-8").splitlines() if results.exists() else []
    return {result["name"]: result for result in map(json.loads, lines)}


def harmless() -> set[str]:
    """The mutants that docs/mutation.md lists as changing nothing."""
    page = ROOT / "docs" / "mutation.md"
    return set(re.findall(r"^\| `([0-9a-f]{8})`", page.read_text("utf-8"), re.MULTILINE)) if page.exists() else set()


def interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z = 1.96
    centre, half = share + z * z / (2 * count), z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return (centre - half) / (1 + z * z / count), (centre + half) / (1 + z * z / count)


def row(room: str, total: int, results: list[dict[str, str]]) -> str:
    same = harmless()
    count = Counter("equal" if r["name"] in same and r["status"] == "survived" else r["status"] for r in results)
    tried = len(results) - count["equal"]
    share = (count["killed"] + count["timeout"]) / max(tried, 1)
    low, high = interval(share, max(tried, 1))
    cells = [room, total, len(results), count["killed"], count["timeout"], count["survived"], count["equal"]]
    return f"| {' | '.join(map(str, cells))} | {share:.1%} | {low:.1%} to {high:.1%} |"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rooms", nargs="*", choices=[*ROOMS, []], default=list(ROOMS))
    parser.add_argument("--sample", type=int, default=10**6, help="mutants of each room, taken by their names")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds of tests for each mutant")
    parser.add_argument("--results", type=Path, default=Path("mutation.jsonl"))
    parser.add_argument("--again", action="store_true", help="try those that survived once more")
    parser.add_argument("--tests", nargs="*", help="other tests than those of the room")
    parser.add_argument("--only", nargs="*", help="names of mutants")
    parser.add_argument("--report", action="store_true", help="only count, and list the survivors")
    return parser.parse_args()


def main() -> None:
    options = parse()
    os.chdir(ROOT)
    torch.set_num_threads(1)
    print("| room | mutants | tried | killed | timeouts | survived | equivalent | score | 95 % interval |")
    print("|---|---|---|---|---|---|---|---|---|")
    listed = []
    for room in options.rooms:
        every = [mutant for mutant in mutants_of(room) if not mutant.in_message]
        mutants = [m for m in every[: options.sample] if not options.only or m.name in options.only]
        done = read(options.results)
        again = {"survived"} if options.again else set()
        left = [m for m in mutants if options.only or m.name not in done or done[m.name]["status"] in again]
        if left and not options.report:
            folders = options.tests or [f"tests/{room}", "tests/core/test_config.py"]
            judge_all(left, folders, measure(room, folders), options)
        done = read(options.results)
        results = [done[m.name] for m in mutants if m.name in done]
        print(row(room, len(every), results), flush=True)
        listed += [r for r in results if r["status"] == "survived" and r["name"] not in harmless()]
    for r in listed:
        print(f"{r['name']} {r['where']}\n    {r['after']}   {r['by']}")


if __name__ == "__main__":
    main()
