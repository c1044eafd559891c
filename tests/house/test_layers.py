"""The rooms of the package, and which may import which: the walls that hold the house up."""

import ast
from collections.abc import Iterator
from pathlib import Path

import octapi

ROOT = Path(octapi.__file__).parent
#: what every room may import
COMMON = {"errors", "_version", "settings", "options", "text"}
#: what each room imports besides itself and what is common; lazy imports and those for types count too
MAY_IMPORT = {
    "text": set(),
    "protocol": {"device"},
    "pickling": {"protocol"},
    "device": set(),
    "telemetry": {"device", "pickling", "protocol", "store", "trust"},
    "store": {"device", "protocol"},
    "trust": {"device", "protocol", "install"},
    "engine": {"device", "protocol", "trust"},
    "pool": {"device", "pickling", "protocol", "telemetry", "job_context"},
    "namespaces": {"pool", "dispy"},
    "worker": {"device", "engine", "namespaces", "pool", "protocol", "telemetry", "trust"},
    "dask_plugins": {"device", "namespaces", "pool", "protocol"},
    "install": {"device", "protocol", "shim", "trust"},
    "client": {
        *(
            "cluster",
            "dask_plugins",
            "device",
            "engine",
            "job",
            "namespaces",
            "pickling",
            "pool",
            "protocol",
            "results",
        ),
        *("telemetry", "testing", "trust"),
    },
    "dispy": {"client", "cluster", "namespaces", "pickling", "protocol", "results", "job", "page"},
    "page": {"client", "cluster", "device", "protocol", "store", "telemetry", "trust"},
    "master": {"device", "master.gateway", "master.supervisor", "store"},
    "master.gateway": {"device", "engine", "protocol", "store", "telemetry", "trust"},
    "master.supervisor": {"device", "install", "page", "protocol", "store", "telemetry", "trust"},
    "testing": {"device", "protocol", "trust", "worker"},
}
#: modules that unpickle, or have others do it
UNPICKLE = {"pickle", "cloudpickle", "distributed", "dask", "marshal", "shelve"}


def room_of(module: str) -> str:
    """Return the room of a module without the package's name in front; at the top level it is the module itself."""
    parts = module.split(".")
    if parts[0] == "master" and len(parts) > 1 and (ROOT / "master" / parts[1]).is_dir():
        return ".".join(parts[:2])
    return parts[0]


def imports_of(path: Path) -> Iterator[str]:
    """Yield the full names of all modules that a file imports anywhere."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if is_module(node.module, alias.name))


def is_module(package: str, name: str) -> bool:
    """Say whether a name is a module of one of our packages."""
    place = ROOT.parent / package.replace(".", "/") / name
    return package.startswith("octapi") and (place.is_dir() or place.with_suffix(".py").exists())


def files_of(room: str) -> list[Path]:
    """Return the files of one room, without those of rooms inside it."""
    found = [path for path in (ROOT / room.replace(".", "/")).rglob("*.py") if "static" not in path.parts]
    return [path for path in found if room_of(".".join(path.relative_to(ROOT).parts)) == room]


def test_every_room_has_its_place_among_the_others() -> None:
    rooms = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()} - {"cli"}
    inside = {f"master.{path.name}" for path in (ROOT / "master").iterdir() if (path / "__init__.py").exists()}
    assert rooms | inside == set(MAY_IMPORT)


def test_no_room_imports_what_stands_above_it() -> None:
    wrong = []
    for room, allowed in MAY_IMPORT.items():
        files = files_of(room)
        assert files, room
        for path in files:
            for name in imports_of(path):
                if name.startswith("octapi."):
                    other = room_of(name.removeprefix("octapi."))
                    if other not in {room, *allowed, *COMMON} and not (room.startswith("master") and other == "master"):
                        wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(sorted(wrong))


def test_what_holds_the_authoritys_key_imports_nothing_that_unpickles() -> None:
    for room in ("master.supervisor", "trust", "device", "install", "text"):
        for path in files_of(room):
            found = {name.partition(".")[0] for name in imports_of(path)} & UNPICKLE
            assert not found, f"{path.relative_to(ROOT)} imports {', '.join(found)}"


def test_neither_the_pool_nor_the_protocol_names_a_layer_that_stands_on_them() -> None:
    for room in ("pool", "protocol"):
        for path in files_of(room):
            if path.name != "namespace.py":
                assert "dispy" not in path.read_text(), path


def test_sql_stands_in_the_room_of_the_store() -> None:
    for path in ROOT.rglob("*.py"):
        text = path.read_text()
        if "store" not in path.relative_to(ROOT).parts:
            assert "sqlite3" not in text, path
            assert "SELECT " not in text, path
