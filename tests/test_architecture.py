"""The shape of the code itself: rooms, words, forbidden calls, public names, sizes."""

import ast
import statistics
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import inkwash

SOURCE = Path(inkwash.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

ROOT = Path(__file__).parents[1]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
ROOMS = set(CONTRACTS[0]["layers"])
PLAIN = {"abc", "collections", "dataclasses", "functools", "itertools", "math", "typing"}


def module_name(path):
    name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    return name.removesuffix(".__init__") if name != "__init__" else ""


MODULES = {module_name(path): path for path in FILES if module_name(path)}
NETWORKS = {module for module in MODULES if module.partition(".")[0] == "nn"}


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def is_type_checking(node):
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imported(nodes):
    """Modules named by import statements; `from inkwash import x` names inkwash.x."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield from ([f"inkwash.{a.name}" for a in node.names] if module == "inkwash" else [module])


def own(names):
    return {name.removeprefix("inkwash.") for name in names if name.startswith("inkwash.")}


def imports_of_inkwash(nodes):
    return [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) and own(imported([node]))]


def test_every_module_lies_in_a_room():
    assert {name.partition(".")[0] for name in MODULES} == ROOMS


def test_the_contract_is_about_all_rooms():
    """`lint-imports` checks it: rooms import downward only, nothing imports in a circle, annotations count."""
    assert [contract["type"] for contract in CONTRACTS] == ["layers", "acyclic_siblings"]
    assert CONTRACTS[0]["exhaustive"]
    assert not any("ignore_imports" in contract for contract in CONTRACTS)


@pytest.mark.parametrize("module", MODULES)
def test_no_import_is_hidden(module):
    """Only a command may import a module of the package when it runs; no import is for annotations alone."""
    tree = tree_of(MODULES[module])
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    late = imports_of_inkwash(node for function in functions for node in ast.walk(function))
    typed = imports_of_inkwash(node for block in tree.body if is_type_checking(block) for node in block.body)
    assert typed == []
    assert late == [] or module.startswith("commands.") or module == "__main__"


@pytest.mark.parametrize("room", sorted(ROOMS - {"presets", "sklearn", "__main__"}))
def test_a_room_only_hands_names_on(room):
    """Its `__init__.py` has a sentence, imports and `__all__`; a table of what options name may stand there too."""
    sentence, *others = tree_of(SOURCE / room / "__init__.py").body
    assert sentence.value.value.strip().count("\n") == 0
    kinds = (ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Expr)
    assert all(isinstance(node, kinds) for node in others)


WORDS = {"told", "way", "whole", "chosen", "inside", "outside", "said"}


def identifiers(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg | ast.keyword) and node.arg:
            yield node.arg
        elif isinstance(node, ast.Name | ast.Attribute):
            yield node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.alias):
            yield node.asname or node.name


@pytest.mark.parametrize("module", MODULES)
def test_a_word_has_one_meaning(module):
    names = {name for name in identifiers(tree_of(MODULES[module])) if WORDS & set(name.lower().split("_"))}
    assert names == set()


@pytest.mark.parametrize("module", sorted(NETWORKS))
def test_networks_know_no_probability(module):
    names = set(imported(ast.walk(tree_of(MODULES[module]))))
    assert {name.partition(".")[0] for name in names} <= PLAIN | {"torch", "inkwash"}
    assert own(names) <= NETWORKS | {"core.config", "core.errors"}


def test_importing_the_package_imports_nothing_heavy():
    """Only what lazy names need, the version and errors of the core; see docs/decisions.md."""
    words = "import sys; before = set(sys.modules); import inkwash; print(*(set(sys.modules) - before))"
    found = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True).stdout.split()
    assert {name.partition(".")[0] for name in found} & {"torch", "numpy", "scipy", "sklearn", "matplotlib"} == set()
    assert all(name.startswith("inkwash.core") for name in found if name.startswith("inkwash."))


@pytest.mark.parametrize("words", ["import inkwash; inkwash.bridges.export", "cli.main(['--help'])"])
def test_libraries_elsewhere_are_imported_by_those_who_use_them(words):
    """Neither help nor the names of the bridges take the seconds that these libraries take."""
    start = "import atexit, sys; from inkwash.commands import cli; atexit.register(lambda: print(*sys.modules)); "
    done = subprocess.run([sys.executable, "-c", start + words], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "inkwash" in loaded
    assert loaded & {"diffusers", "transformers", "onnx", "onnxscript", "onnxruntime", "huggingface_hub"} == set()


EXTRAS = (
    *("h5py", "netCDF4", "zarr", "nibabel", "pydicom", "astropy", "soundfile", "tifffile", "imagecodecs"),
    *("pandas", "pyarrow", "narwhals", "polars", "xarray", "datasets", "webdataset", "huggingface_hub"),
)


def test_the_table_of_formats_imports_no_extra():
    """Each extra is imported when a file of its format is read."""
    words = f"import sys; import inkwash.data.examples; print(*({{*sys.modules}} & {{*{EXTRAS}}}))"
    found = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True).stdout.split()
    assert found == []


FORBIDDEN_IMPORTS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "torch.load", "yaml.load", "os.system", "yaml.unsafe_load"}


def dotted(node):
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def forbidden(tree):
    for node in ast.walk(tree):
        yield from FORBIDDEN_IMPORTS & {name.partition(".")[0] for name in imported([node])}
        if isinstance(node, ast.Call):
            yield from FORBIDDEN_CALLS & {dotted(node.func)}
            for keyword in node.keywords:
                allowed = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                if keyword.arg in {"shell", "allow_pickle"} and not allowed:
                    yield keyword.arg


@pytest.mark.parametrize("module", MODULES)
def test_no_code_comes_from_data(module):
    assert list(forbidden(tree_of(MODULES[module]))) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "torch.load(f)",
        "eval(s)",
        "yaml.load(f)",
        "run(x, shell=True)",
        "np.load(f, allow_pickle=True)",
        "run(x, shell=flag)",
    ],
)
def test_code_from_data_would_be_noticed(code):
    assert list(forbidden(ast.parse(code)))


PUBLIC = [name for name in inkwash.__all__ if name not in ROOMS]


def test_the_front_door_is_small():
    assert 50 <= len(PUBLIC) <= 75


def test_no_public_name_is_a_module():
    """Importing a module sets an attribute of its package: it would replace the public thing of the same name."""
    assert set(PUBLIC) & {module.partition(".")[0] for module in MODULES} == set()


def handed_on():
    """The names that a room hands on, and the modules of the room."""
    for room in sorted(ROOMS):
        package = import_module(f"inkwash.{room}")
        modules = {name.split(".")[1] for name in MODULES if name.startswith(f"{room}.")}
        yield package, set(getattr(package, "__all__", ())), modules


def test_no_name_of_a_room_is_a_module():
    assert [package.__name__ for package, names, modules in handed_on() if names & modules] == []


def test_public_names_stay_what_they_are_once_every_module_is_imported():
    for module in MODULES:
        import_module(f"inkwash.{module}")
    assert [name for name in PUBLIC if isinstance(getattr(inkwash, name), ModuleType)] == []


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_described(name):
    assert (getattr(inkwash, name).__doc__ or "").strip()


def test_unknown_names_are_unknown():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = inkwash.nonsense


@pytest.mark.parametrize("module", MODULES)
def test_files_are_short(module):
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= 500


def body_lines(function):
    """Lines of a function after its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def function_sizes():
    for module, path in MODULES.items():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef):
                yield f"{module}.{node.name}:{node.lineno}", body_lines(node)


def test_functions_are_small():
    sizes = dict(function_sizes())
    long = {name: lines for name, lines in sizes.items() if lines > 30}
    assert statistics.median(sizes.values()) <= 7
    assert len(long) <= 0.1 * len(sizes), long


@pytest.mark.parametrize("module", MODULES)
def test_modules_say_what_they_are(module):
    assert ast.get_docstring(tree_of(MODULES[module]))
