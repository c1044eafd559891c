"""What a pickle of OctaPi's calls while it is loaded: functions, classes and values of the script are made again.

On a worker they are made in the slot's ``__main__``, which stands for the script's: functions of the script have its
names as their globals, and what the script has at top level is bound there under its own name.  So a job sees one
namespace, and what it returns is pickled by name.  At home, :mod:`octapi.pickling.homecoming` puts others in the
place of those of these functions that would change the script.
"""

from __future__ import annotations

import functools
import importlib
import pickle
import sys
import types
import weakref
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MAIN: Final = "__main__"
#: the operation by which a pickle refers to a class or function; one without it holds plain values only.  It is a
#: number, for ``in`` finds a number in bytes ten times as quickly as bytes
REFERS: Final = pickle.STACK_GLOBAL[0]


class Main(types.ModuleType):
    """The module that stands for the script's in a slot.

    ``sent`` are the names, and values, that came from there; ``classes`` are those that were made here, by the mark
    that they have there, and ``marks`` their marks.
    """

    __slots__ = ("classes", "marks", "sent")

    def __init__(self) -> None:
        super().__init__(MAIN)
        self.sent: dict[str, Any] = {}
        self.classes: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
        self.marks: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        self.__dict__["__builtins__"] = sys.modules["builtins"]


def names() -> dict[str, Any]:
    """Return the globals of the module that stands for the script."""
    return sys.modules[MAIN].__dict__


def sent() -> dict[str, Any] | None:
    """Return what the script sent by name, or None where all of ``__main__`` is the script's own."""
    main = sys.modules[MAIN]
    return main.sent if isinstance(main, Main) else None


def bind(name: str | None, value: object) -> None:
    """Bind a top-level name of the script."""
    if name is None:
        return
    names()[name] = value
    known = sent()
    if known is not None:
        known[name] = value


def bind_all(values: dict[str, Any]) -> None:
    """Bind globals that a function of the script uses."""
    names().update(values)
    known = sent()
    if known is not None:
        known.update(values)


def function_of_main(code: types.CodeType, cells: Any, facts: dict[str, Any]) -> types.FunctionType:
    """Make a function whose globals are the script's; ``facts`` are the module's own (``__file__`` and so on)."""
    own = names()
    own.update(facts)
    return types.FunctionType(code, own, None, None, cells)


def function_of_module(code: types.CodeType, cells: Any, module: str) -> types.FunctionType:
    """Make a function whose globals are those of a module that workers can import."""
    return types.FunctionType(code, importlib.import_module(module).__dict__, None, None, cells)


def function_apart(code: types.CodeType, cells: Any, own: dict[str, Any]) -> types.FunctionType:
    """Make a function with globals of its own, which others of the same pickle may share."""
    own["__builtins__"] = sys.modules["builtins"]
    return types.FunctionType(code, own, None, None, cells)


def function_near_main(code: types.CodeType, cells: object, own: dict[str, Any]) -> types.FunctionType:
    """Make a function of what a job added to the script's globals; only at home is that more than apart."""
    return function_apart(code, cells, own)


def function_state(function: types.FunctionType, state: Any) -> None:
    """Complete a function: its globals, attributes, and its name in the script."""
    values, facts, attributes, _submodules, name = state
    if function.__globals__ is names():
        bind_all(values)
    else:
        function.__globals__.update(values)
    complete(function, facts, attributes)
    bind(name, function)


def complete(function: object, facts: dict[str, Any], attributes: dict[str, Any] | None) -> None:
    """Set a function's own attributes, and those that were added to it."""
    for key, value in facts.items():
        setattr(function, key, value)
    if attributes:
        function.__dict__.update(attributes)


def cell() -> types.CellType:
    """Make an empty cell of a closure."""
    return types.CellType()


def cell_state(cell: types.CellType, state: Any) -> None:
    """Fill a cell; functions that shared it share it again."""
    (cell.cell_contents,) = state


def class_of_main(mark: str, *outline: object) -> Any:
    """Make a class or an enumeration, or find the one that was made before of the same."""
    main = sys.modules[MAIN]
    if not isinstance(main, Main):
        return new_class(outline)
    found = main.classes.get(mark)
    if found is None:
        found = main.classes[mark] = new_class(outline)
        main.marks[found] = mark
    return found


def new_class(outline: tuple[Any, ...]) -> Any:
    """Make a class or an enumeration."""
    from octapi.pickling import classes

    meta, name, bases, inside, *members = outline
    if members:
        return classes.make_enum(meta, name, bases, inside, *members)
    return classes.make(meta, name, bases, inside, is_own)


def is_own(cls: object) -> bool:
    """Say whether the script brought a class."""
    return bool(cls.__module__ == MAIN)


def class_state(cls: Any, state: Any) -> None:
    """Complete a class: its attributes, and its name in the script."""
    from octapi.pickling import classes

    attributes, registered, name = state
    classes.complete(cls, attributes, registered)
    bind(name, cls)


def cached(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Any:
    """Make a function with a cache, which is empty."""
    return functools.lru_cache(maxsize, typed)(function)


def dispatched(function: Callable[..., Any]) -> Any:
    """Make a generic function of its general case."""
    return functools.singledispatch(function)


def dispatched_state(function: Any, state: Any) -> None:
    """Complete a generic function with its other cases."""
    cases, attributes, name = state
    for kind, case in cases:
        function.register(kind, case)
    function.__dict__.update(attributes)
    bind(name, function)


def choice(function: Callable[..., Any]) -> Any:
    """Make what chooses the case of a generic function."""
    return functools.singledispatch(function).dispatch


def choice_state(function: Any, cases: list[tuple[Any, Any]]) -> None:
    """Complete it with the other cases."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__, strict=True):
        if name == "registry":
            cell.cell_contents.update(cases)


def alias(name: str, value: object, parameters: tuple[Any, ...]) -> Any:
    """Make the alias of a type."""
    import typing

    return typing.TypeAliasType(name, value, type_params=parameters)  # type: ignore[attr-defined]


def value_state(value: Any, state: Any) -> None:
    """Complete an object that has a name in the script."""
    attributes, name = state
    if attributes:
        value.__dict__.update(attributes)
    bind(name, value)


def sentinel(name: str) -> Any:
    """Return the script's plain ``object()`` of this name; there is one."""
    found = names().get(name)
    if type(found) is not object:
        found = object()
        bind(name, found)
    return found


def of_main(path: str) -> Any:
    """Return what the script calls ``path``, with dots between a class and what it holds; "" is its module."""
    found: Any = sys.modules[MAIN]
    for part in path.split(".") if path else ():
        found = getattr(found, part)
    return found


def dynamic_module(name: str) -> types.ModuleType:
    """Return a module that was made without a file."""
    found = sys.modules.get(name)
    if found is None:
        found = sys.modules[name] = types.ModuleType(name)
    return found


def module_state(module: types.ModuleType, values: dict[str, Any]) -> None:
    """Fill a module that was made without a file."""
    module.__dict__.update(values)


def of_module(module: str, name: str) -> Any:
    """Return a value of a module."""
    return getattr(importlib.import_module(module), name)


def is_plain(data: bytes) -> bool:
    """Say whether a pickle made by name means at home what it means here."""
    if REFERS not in data:
        return True
    if b"\x06object" in data:  # a plain object() may be one of the script's
        return False
    return b"__main__" not in data or not strangers()


def strangers() -> bool:
    """Say whether ``__main__`` holds functions or classes that the script does not know: jobs made them."""
    known = sent()
    if known is None:
        return False
    return any(
        known.get(name) is not value and getattr(value, "__module__", None) == MAIN
        for name, value in list(names().items())
    )
