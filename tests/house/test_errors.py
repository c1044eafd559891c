"""The tree of errors: what is drawn, what there is, and that nothing of ours stands outside."""

import ast
import builtins
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from octapi import errors
from octapi.errors import OctapiError

SOURCES = Path(errors.__file__).parent
ROOT = SOURCES.parent.parent
#: errors outside the tree, each with its reason
OUTSIDE = {
    "install/installer.py:Problem": "runs where there is no OctaPi yet",
    "install/bootstrap.py:Problem": "runs where there is no OctaPi yet",
    "pickling/snapshot.py:CanChange": "says within the module that a value cannot be remembered; nobody else sees it",
    "client/item_range.py:CannotSend": "says within the client that items are sent one by one; nobody else sees it",
}


def drawn() -> dict[str, tuple[str, set[str]]]:
    """Return each error of the drawing with the one above it, and with what it also is."""
    found: dict[str, tuple[str, set[str]]] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        branch = re.match(r"([│ ]*)(?:├── |└── )?([A-Z]\w+)(?:  +(.*)| (.*)|$)", line)
        if branch is None or not (branch[2] == "OctapiError" or "── " in line):
            continue
        depth = 0 if branch[2] == "OctapiError" else line.index("── ") // 4 + 1
        del above[depth:]
        also = re.search(r"\(also (\w+)", line)
        found[branch[2]] = above[-1] if above else "", {also[1]} if also else set()
        above.append(branch[2])
    return found


def real() -> dict[str, type[OctapiError]]:
    """Return each error that there is."""
    rows = {
        name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, OctapiError)
    }
    return {name: kind for name, kind in rows.items() if kind.__module__ == errors.__name__}


def test_the_drawing_shows_the_tree_as_it_is() -> None:
    kinds = real()
    assert len(kinds) > 30
    bases = {name: [base.__name__ for base in kind.__bases__] for name, kind in kinds.items()}
    there = {
        name: (next((base for base in found if base in kinds), ""), {base for base in found if base not in kinds})
        for name, found in bases.items()
    }
    there["OctapiError"] = ("", set())
    assert drawn() == there


def code() -> Iterator[tuple[Path, ast.AST]]:
    """Yield every node of every module, with its file."""
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            yield path, node


def test_every_error_is_raised_somewhere_or_documented() -> None:
    made = {ast.unparse(node.func).rpartition(".")[2] for _, node in code() if isinstance(node, ast.Call)}
    documented = "".join(path.read_text() for path in (ROOT / "docs").rglob("*.md"))
    bases = {base.__name__ for kind in real().values() for base in kind.__bases__}
    idle = [name for name in real() if name not in made | bases and not re.search(rf"\b{name}\b", documented)]
    assert not idle


def test_every_error_says_what_it_means() -> None:
    assert not [name for name, kind in real().items() if not vars(kind).get("__doc__")]


def test_no_error_of_ours_stands_outside_of_the_tree() -> None:
    usual = {name for name, kind in vars(builtins).items() if inspect.isclass(kind) and issubclass(kind, BaseException)}
    found = set()
    for path, node in code():
        if isinstance(node, ast.ClassDef) and path.name != "errors.py":
            names = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
            if names & (usual | set(real()) | {"CancelledError"}):
                found.add(f"{path.relative_to(SOURCES)}:{node.name}")
    assert found == set(OUTSIDE)


def test_every_error_can_be_made_from_the_text_that_another_process_told() -> None:
    for name in real():
        assert str(errors.by_name(name, OctapiError)("what happened")) == "what happened"
