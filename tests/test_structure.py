"""The house, read from its imports: who may know of whom, nothing in a circle, no long module, no long function."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = {path.stem for path in ROOT.glob("*.py")}
PACKAGES = ("benchmarks", "ite", "models", "paper", "shredder", "tasks")
# Floors of shredder/: a module imports its own wing, and what stands on floors below it.
FLOORS = [
    {"io"},
    {"noise", "shown", "graph"},
    {"split", "figures"},
    {"inputs", "metrics"},
    {"task"},
    {"system"},
    {"learn", "sample", "attack"},
]
FLOOR = {wing: number for number, wings in enumerate(FLOORS) for wing in wings}
# What shredder/ takes from models/: errors and downloads, no network.
FROM_MODELS = {"models.weights", "models.download"}
# Estimators are found by name when one is made: the two modules that do it import the package that lists them all.
BY_NAME = {("ite.cost.shared", "ite.cost"), ("ite.cost.x_factory", "ite.cost")}
LINES, FUNCTION_LINES = 300, 60


def modules():
    """Every module of ours but tests, by its dotted name."""
    paths = [*ROOT.glob("*.py"), *(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))]
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}
    return {name: (path, ast.parse(path.read_text(encoding="utf-8"))) for name, path in names.items()}


MODULES = modules()


def imported(tree, known):
    """Names of `known` modules that `tree` imports anywhere, be it inside a function."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            names = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            found |= {whole if whole in known else node.module for whole in names.values()}
    return found & known.keys()


IMPORTS = {name: imported(tree, MODULES) for name, (_, tree) in MODULES.items()}


def package(name):
    return name.split(".")[0]


def wing(name):
    """learn of shredder.learn.step, task of shredder.task."""
    return name.split(".")[1]


def circles(imports):
    """Strongly connected modules, each circle once."""
    reached = {name: set(others) for name, others in imports.items()}
    for middle in reached:  # Warshall's closure
        for name in reached:
            if middle in reached[name]:
                reached[name] |= reached[middle]
    return {frozenset(other for other in reached[name] if name in reached[other]) for name in reached if name in reached[name]}


def test_circles_are_seen():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"d"}}) == {frozenset("bc"), frozenset("d")}
    known = dict.fromkeys(("a", "a.b", "c"))
    tree = ast.parse("import numpy\nfrom a import b, x\ndef f():\n    import c.d\n    from c import y")
    assert imported(tree, known) == {"a", "a.b", "c"}


def test_the_sources_are_found():
    assert {"shredder.learn.step", "ite.cost.information", "tasks.lenet", "models.lenet", "train_noise"} < MODULES.keys()
    assert "shredder.noise.stored" in IMPORTS["shredder.noise.load"] and "shredder.system" in IMPORTS["shredder.sample.step"]


def test_no_module_imports_itself_by_others():
    imports = {name: {other for other in others if (name, other) not in BY_NAME} for name, others in IMPORTS.items()}
    assert circles(imports) == set()
    assert all(other in IMPORTS[name] for name, other in BY_NAME)  # or the exception is one no longer


def test_packages_import_nothing_by_themselves():
    """Importing a module runs its package's file, too."""
    files = [name for name, (path, _) in MODULES.items() if path.name == "__init__.py" and package(name) != "ite"]
    assert "shredder.learn" in files and [name for name in files if IMPORTS[name]] == []


@pytest.mark.parametrize(
    "one, never",
    [
        ("shredder", {"tasks", "paper", "benchmarks", "ite", *SCRIPTS}),
        ("models", {"shredder", "tasks", "paper", "benchmarks", "ite", *SCRIPTS}),
        ("ite", {"shredder", "models", "tasks", "paper", "benchmarks", *SCRIPTS}),
        ("tasks", {"paper", "benchmarks", "ite", *SCRIPTS}),
        ("paper", {"benchmarks"}),
    ],
)
def test_who_never_knows_of_whom(one, never):
    wrong = [(name, other) for name in MODULES if package(name) == one for other in IMPORTS[name] if package(other) in never]
    assert wrong == []


def test_shredder_takes_no_network():
    taken = {other for name in MODULES if package(name) == "shredder" for other in IMPORTS[name] if package(other) == "models"}
    assert taken <= FROM_MODELS
    calls = [
        name
        for name, (_, tree) in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__")
    ]
    assert calls == ["shredder.task"]  # where --task NAME is read


def test_wings_stand_on_floors():
    """io < noise < split < inputs, metrics < task < system < learn, sample, attack; two of a floor do not meet."""
    ours = [name for name in MODULES if package(name) == "shredder" and name != "shredder"]
    assert {wing(name) for name in ours} == FLOOR.keys()
    wrong = [
        (name, other)
        for name in ours
        for other in IMPORTS[name]
        if package(other) == "shredder" and wing(other) != wing(name) and FLOOR[wing(other)] >= FLOOR[wing(name)]
    ]
    assert wrong == []


def test_tasks_know_the_task_and_its_inputs():
    known = {
        wing(other) for name in MODULES if package(name) == "tasks" for other in IMPORTS[name] if package(other) == "shredder"
    }
    assert known <= {"task", "inputs", "io"}


def test_scripts_are_no_library():
    """No module imports a script, but for the paper's, which runs them."""
    users = {package(name) for name in MODULES for other in IMPORTS[name] if package(other) in SCRIPTS} - SCRIPTS
    assert users <= {"paper", "benchmarks"}


def test_no_long_module_and_no_long_function():
    ours = {name: found for name, found in MODULES.items() if package(name) != "ite"}
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, (path, _) in ours.items()}
    assert {name: n for name, n in lengths.items() if n > LINES} == {}
    functions = {
        f"{name}:{node.name}": node.end_lineno - node.lineno + 1
        for name, (_, tree) in ours.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: n for name, n in functions.items() if n > FUNCTION_LINES} == {} and len(functions) > 300
