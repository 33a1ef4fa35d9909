"""The shape of the code itself: layers, forbidden calls, public names, sizes."""

import ast
import statistics
from importlib import import_module
from pathlib import Path

import pytest

import inkwash

SOURCE = Path(inkwash.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

LAYERS = [
    {"errors", "memory", "shapes"},
    {
        "calibration",
        "randomness",
        "distributions",
        "noise.grid",
        "noise.schedule",
        "metrics",
        "fidelity",
        "features",
        "tabular",
        "drift",
        "series",
        "storage",
        "config",
        "device",
        "ode",
    },
    {"noise.tables", "noise.letters", "noise.grids", "nn.layers"},
    {"noise.closed", "noise.learned", "nn.levels", "nn.columns", "nn.dit", "nn.mlp", "nn.tables", "nn.unet"},
    {"noise", "nn"},
    {"process"},
    {"gaussian", "bernoulli", "prediction", "variance", "propose"},
    {"categorical", "denoise"},
    {"mixed"},
    {"codes", "bits", "sample.sampler", "sample.quadrature", "likelihood", "entropy", "degrade", "flow"},
    {"interpolate", "objective", "sample.posterior"},
    {"sample.multistep", "sample.stochastic"},
    {"sample.singlestep"},
    {"sample"},
    {"vae", "walk"},
    {"data.rows"},
    {"data.columns", "data.curves"},
    {"data.transform", "data.leaves"},
    {"data.raw", "data.deep", "data.condition"},
    {"data.files", "data.images", "data.table"},
    {"data.builtin"},
    {"data.frame"},
    {"data.hub"},
    {"data.read"},
    {"data.sources"},
    {"data"},
    {"model", "factor", "operators"},
    {"posterior.method"},
    {"posterior.bits", "posterior.guide"},
    {"posterior.smc", "posterior.walk"},
    {"posterior"},
    {"impute", "product"},
    {"build", "checkpoint", "display", "grid_costs", "pictures"},
    {"describe", "film"},
    {"run", "training"},
    {"cost", "learned_grid"},
    {"fit"},
    {"draw", "exhibits"},
    {"report"},
    {"share", "sklearn"},
    {"completion", "inpaint"},
    {"evaluation"},
    {"papers.report"},
    {"papers.path_loss", "papers.cold", "papers.products", "papers.questions.answer"},
    {"papers.questions.forward", "papers.questions.backward"},
    {"papers.questions"},
    {"papers"},
    {"cli"},
]
LEVEL = {module: level for level, modules in enumerate(LAYERS) for module in modules}
HOME = {name: f"inkwash.{module}" for name, module in inkwash._MODULE_OF.items()}
TORCH_ONLY = {"nn.columns", "nn.dit", "nn.layers", "nn.mlp", "nn.tables", "nn.unet", "nn.levels", "nn"}


def module_name(path):
    name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    return name.removesuffix(".__init__") if name != "__init__" else ""


MODULES = {module_name(path): path for path in FILES if module_name(path)}


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def is_type_checking(node):
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def module_level(tree):
    """Statements that run, or bind names, when the module is imported."""
    return [node for node in tree.body if not is_type_checking(node)]


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


def test_every_module_has_a_layer():
    assert set(MODULES) - set(LEVEL) - {"__main__"} == set()
    assert set(LEVEL) - set(MODULES) == set()


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_only(module):
    below = {name for name, level in LEVEL.items() if level < LEVEL[module]}
    assert own(imported(module_level(tree_of(MODULES[module])))) - below == set()


@pytest.mark.parametrize("module", sorted(TORCH_ONLY))
def test_networks_know_no_probability(module):
    names = set(imported(ast.walk(tree_of(MODULES[module]))))
    assert {name.partition(".")[0] for name in names} <= {"torch", "inkwash", "math", "collections", "functools"}
    assert own(names) <= TORCH_ONLY


def test_importing_the_package_imports_nothing_else_of_it():
    names = imported(module_level(tree_of(SOURCE / "__init__.py")))
    assert set(names) <= {"importlib", "typing"}


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


def type_checking_names():
    block = next(node for node in tree_of(SOURCE / "__init__.py").body if is_type_checking(node))
    return {node.module.removeprefix("inkwash."): {a.name for a in node.names} for node in block.body}


def test_the_names_for_type_checkers_are_the_names_at_run_time():
    assert type_checking_names() == {module: set(names) for module, names in inkwash._HOME.items()}


def test_no_public_name_is_a_module():
    """Importing a module sets an attribute of its package: it would replace the public thing of the same name."""
    assert set(inkwash.__all__) & {module.partition(".")[0] for module in MODULES} == set()


def test_public_names_stay_what_they_are_once_every_module_is_imported():
    for module in MODULES:
        import_module(f"inkwash.{module}")
    wrong = [n for n in inkwash.__all__ if getattr(inkwash, n) is not getattr(import_module(HOME[n]), n)]
    assert wrong == []


@pytest.mark.parametrize("name", inkwash.__all__)
def test_every_public_name_is_described(name):
    value = getattr(import_module(HOME[name]), name)
    assert (value.__doc__ or "").strip()


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
