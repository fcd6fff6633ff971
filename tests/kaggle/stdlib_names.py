"""Run by any Python: imports the kit's modules, and looks up each name they want of its library.

    python3.10 stdlib_names.py FOLDER MODULE...

Packages that are not installed are stubs: this is about the language and the standard library.
An import alone would not see what a function needs; so the names that functions use are looked up
too, and methods that came later than the oldest Python are known by name. What is wanted inside
`try ... except ImportError`, or below a look at `sys.version_info` or `TYPE_CHECKING`, may be
missing.
"""

import ast
import asyncio
import importlib
import importlib.machinery
import json
import sys
from pathlib import Path
from types import ModuleType

STANDARD = {*sys.stdlib_module_names, "tomllib"}  # also where it is too old for one
LATER = {"cancelling": asyncio.Task, "uncancel": asyncio.Task, "add_note": Exception}  # methods


class Anything(type):
    """A class whose attributes, calls and subclasses are possible, whatever they are."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything(name, (), {})

    def __call__(cls, *args, **options):
        return args[0] if args and callable(args[0]) else type.__call__(cls)


class Stub(ModuleType):
    """A package that is not installed."""

    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything(name, (), {"__getattr__": lambda self, name: Anything(name, (), {})})


class Stubs:
    """Finds these packages where nobody else does."""

    def __init__(self, packages):
        self.packages = packages

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.packages:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return Stub(spec.name)

    def exec_module(self, module):
        return None


def wanted(tree):
    """The names of the standard library that the code uses: module, and name or nothing."""
    optional = {id(node) for each in ast.walk(tree) if guarded(each) for node in ast.walk(each)}
    nodes = [node for node in ast.walk(tree) if id(node) not in optional]
    known = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None
                known[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.module, alias.name
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in nodes:
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id in known:
                yield known[node.value.id], node.attr
            if node.attr in LATER and not hasattr(LATER[node.attr], node.attr):
                yield "builtins", node.attr


def guarded(node):
    """True where the code itself sees to what is missing."""
    if isinstance(node, ast.Try):
        return any("ImportError" in ast.unparse(h.type or h) for h in node.handlers)
    looks = ("version_info", "TYPE_CHECKING")
    return isinstance(node, ast.If) and any(look in ast.unparse(node.test) for look in looks)


def there(module, name):
    """True where the standard library has the name, or it is not the standard library's."""
    if module.split(".")[0] not in STANDARD:
        return True
    try:
        found = importlib.import_module(module)
    except ImportError:
        holder, _, last = module.rpartition(".")
        if not holder or not there(holder, last):
            return False
        found = getattr(importlib.import_module(holder), last, None)
        if found is None or not isinstance(found, (type, ModuleType)):
            return True  # an object: only running it would tell
    if name is None or hasattr(found, name):
        return True
    try:
        importlib.import_module(f"{module}.{name}")
    except ImportError:
        return False
    return True


def main():
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    missing, packages = [], set()
    for file in sorted(folder.rglob("*.py")):
        names_of_file = set(wanted(ast.parse(file.read_text(), str(file))))
        packages |= {module.split(".")[0] for module, _ in names_of_file}
        where = file.relative_to(folder)
        missing += [f"{where}: {m}.{n}" for m, n in sorted(names_of_file, key=str)
                    if not there(m, n)]  # fmt: skip
    sys.meta_path.append(Stubs(packages - STANDARD - {"aimo_submit"}))
    failed = []
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            failed.append(f"{name}: {type(error).__name__}: {error}")
    print(json.dumps({"missing": missing or failed, "imported": len(names) - len(failed)}))


if __name__ == "__main__":
    main()
