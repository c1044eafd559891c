"""Is a function still what it was?  A signature of all that it reaches: quick to take, and quick to compare.

Two equal signatures mean equal content: values that cannot change are compared by identity, containers, classes and
other functions that travel with it by what is in them.  A signature keeps nothing alive but such values and code.
"""

from __future__ import annotations

import collections
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from operator import is_
from typing import Any, Final

#: what a signature consists of: compared one by one, by identity
Tokens = list[Any]
Walk = Callable[[Any, Tokens, dict[int, Any]], None]

#: longer signatures are not worth the time
LONGEST: Final = 2000


class Mark:
    """A token that is equal to itself only."""

    __slots__ = ()


END, ABSENT, EMPTY, BY_NAME = Mark(), Mark(), Mark(), Mark()
#: stand for what was met before, by the order of meeting
MET: Final = tuple(Mark() for _ in range(LONGEST + 1))

#: types whose values cannot change
ATOMS: Final = frozenset(
    {int, float, str, bytes, bool, complex, range, types.NoneType, types.EllipsisType, types.NotImplementedType}
    | {types.CodeType, types.GetSetDescriptorType, types.MemberDescriptorType, types.WrapperDescriptorType}
    | {types.MethodDescriptorType, types.ClassMethodDescriptorType}
)  # fmt: skip
#: types of libraries whose values cannot change; named, so that nothing is imported for them
FIRM: Final = frozenset(
    {("re", "Pattern"), ("datetime", "date"), ("datetime", "time"), ("datetime", "datetime"), ("datetime", "timedelta")}
    | {("decimal", "Decimal"), ("fractions", "Fraction"), ("uuid", "UUID"), ("_collections", "_tuplegetter")}
    | {("pathlib", "PosixPath"), ("pathlib", "PurePosixPath"), ("pathlib", "WindowsPath")}
    | {("pathlib._local", "PosixPath"), ("pathlib._local", "PurePosixPath"), ("numpy", "ufunc"), ("numpy", "float64")}
    | {("numpy", "float32"), ("numpy", "int64"), ("numpy", "int32"), ("dataclasses", "_HAS_DEFAULT_FACTORY_CLASS")}
    | {("dataclasses", "_MISSING_TYPE")}
)  # fmt: skip
#: what classes hold that no job runs by
UNREAD: Final = frozenset(
    "__dict__ __weakref__ __annotations__ __annotate_func__ __annotations_cache__ __dataclass_fields__ "
    "__dataclass_params__ __static_attributes__ __firstlineno__ __slotnames__".split()
)


class CanChange(Exception):
    """Something is reached that can change without being seen here."""


def signature(function: object) -> Tokens | None:
    """Return the signature of a function or class; None for one that reaches what can change unseen."""
    tokens: Tokens = []
    try:
        if type(function) is types.FunctionType:  # the usual case, and the quickest
            _function(function, tokens, {id(function): MET[0]})
        else:
            walk(function, tokens, {})
    except Exception:  # whatever looking at it raises: then nobody can say
        return None
    return tokens


def is_as_named(function: Any, tokens: Tokens) -> bool:
    """Say whether a function travels by its name, as it did when the signature was taken; quicker than another."""
    return len(tokens) == 3 and tokens[0] is BY_NAME and tokens[2] is function.__code__ and by_name(function)


def same(one: Tokens | None, other: Tokens | None) -> bool:
    """Say whether two signatures mean the same content."""
    return one is not None and other is not None and len(one) == len(other) and all(map(is_, one, other))


def walk(value: object, tokens: Tokens, met: dict[int, Any]) -> None:
    """Add the tokens of one value.  Raises :exc:`CanChange`."""
    kind = type(value)
    if kind in ATOMS:
        tokens.append(value)
        return
    mark = met.get(id(value))
    if mark is not None:
        tokens.append(mark)
        return
    if len(tokens) > LONGEST or len(met) >= LONGEST:
        raise CanChange
    met[id(value)] = MET[len(met)]
    step = STEPS.get(kind) or step_of(kind)
    step(value, tokens, met)


def step_of(kind: type) -> Walk:
    """Return how to walk through a value of a type that is not among the usual ones.  Raises :exc:`CanChange`."""
    name = (kind.__module__, kind.__qualname__)
    if name in FIRM:
        return _firm
    if name == ("functools", "_lru_cache_wrapper"):
        return _wrapper
    if name == ("logging", "Logger") or (is_enum(kind) and by_name(kind)):
        return _pinned
    raise CanChange


def is_enum(kind: type) -> bool:
    """Say whether the values of a class are members of an enumeration."""
    metaclass: Any = type(kind)
    return any((base.__module__, base.__qualname__) == ("enum", "EnumType") for base in metaclass.__mro__)


def by_name(thing: Any) -> bool:
    """Say whether a function or class travels by its name: its module is imported where it runs."""
    name = thing.__module__
    if name == "__main__" or type(name) is not str:
        return False
    found: Any = sys.modules.get(name)
    if found is None or not has_source(found) or registered_by_value():
        return False
    path = thing.__qualname__
    if "." not in path:
        return getattr(found, path, ABSENT) is thing
    for part in path.split("."):
        found = getattr(found, part, ABSENT)
    return found is thing


def has_source(module: Any) -> bool:
    """Say whether a module came from somewhere, so that it can be imported where its functions run."""
    if getattr(module, "__spec__", None) is not None:
        return True
    top = sys.modules.get(module.__name__.partition(".")[0])
    return getattr(top, "__spec__", None) is not None


def registered_by_value() -> bool:
    """Say whether the script has asked cloudpickle to send modules by value."""
    pickler = sys.modules.get("cloudpickle.cloudpickle")
    return bool(getattr(pickler, "_PICKLE_BY_VALUE_MODULES", None))


# ---- the steps


def _firm(value: object, tokens: Tokens, met: dict[int, Any]) -> None:
    tokens.append(value)


def _pinned(value: object, tokens: Tokens, met: dict[int, Any]) -> None:
    tokens.append(weakref.ref(value))


def _module(value: types.ModuleType, tokens: Tokens, met: dict[int, Any]) -> None:
    """A module that can be imported; one that was reloaded has another spec."""
    if value.__name__ == "__main__":
        tokens.append(BY_NAME)
        return
    if sys.modules.get(value.__name__) is not value or not has_source(value):
        raise CanChange
    tokens.append(weakref.ref(value))
    spec = value.__spec__
    tokens.append(spec if spec is None else weakref.ref(spec))


def _function(value: types.FunctionType, tokens: Tokens, met: dict[int, Any]) -> None:
    code = value.__code__
    if by_name(value):
        tokens += (BY_NAME, weakref.ref(value), code)
        return
    tokens += (code, value.__name__, value.__qualname__, value.__globals__.get(value.__name__) is value)
    for part in (value.__module__, value.__doc__, value.__defaults__, value.__kwdefaults__, value.__dict__):
        if not part or type(part) is str:
            tokens.append(part or None)
        else:
            walk(part, tokens, met)
    if value.__closure__:
        for cell in value.__closure__:
            walk(content_of(cell), tokens, met)
    if code.co_names or code.co_consts:
        if reads_freely(code):
            raise CanChange
        names = value.__globals__
        for name in names_of(code):
            walk(names.get(name, EMPTY), tokens, met)
    _annotations(value, tokens)


def content_of(cell: Any) -> Any:
    """Return what a cell holds, or a mark for nothing."""
    try:
        return cell.cell_contents
    except ValueError:
        return EMPTY


def _annotations(value: types.FunctionType, tokens: Tokens) -> None:
    """Annotations by identity; where they are worked out when somebody asks, nobody asks here."""
    if sys.version_info < (3, 14):
        for name, note in value.__annotations__.items():
            tokens.append(name)
            _note(note, tokens)


def _note(note: object, tokens: Tokens) -> None:
    if type(note) in ATOMS:
        tokens.append(note)
        return
    try:
        tokens.append(weakref.ref(note))
    except TypeError:
        raise CanChange from None


def _class(value: type, tokens: Tokens, met: dict[int, Any]) -> None:
    if by_name(value):
        tokens += (BY_NAME, weakref.ref(value))
        return
    tokens += (type, value.__qualname__)
    for base in value.__bases__:
        walk(base, tokens, met)
    for name, part in list(vars(value).items()):
        if name not in UNREAD:
            tokens.append(name)
            walk(part, tokens, met)
    tokens.append(END)


def _sequence(value: Any, tokens: Tokens, met: dict[int, Any]) -> None:
    if len(value) > LONGEST:
        raise CanChange
    tokens.append(type(value))
    for part in list(value):
        walk(part, tokens, met)
    tokens.append(END)


def _mapping(value: Any, tokens: Tokens, met: dict[int, Any]) -> None:
    if len(value) > LONGEST:
        raise CanChange
    tokens.append(type(value))
    for key, part in list(value.items()):
        walk(key, tokens, met)
        walk(part, tokens, met)
    tokens.append(END)


def _builtin(value: Any, tokens: Tokens, met: dict[int, Any]) -> None:
    if by_name(value):
        tokens += (BY_NAME, weakref.ref(value))
    elif isinstance(value.__self__, type):
        tokens += (type(value), sys.intern(value.__name__))
        walk(value.__self__, tokens, met)
    else:
        raise CanChange  # a method of an object


def _parts(*names: str) -> Walk:
    """Return the step for values that are no more than some of their attributes."""

    def step(value: object, tokens: Tokens, met: dict[int, Any]) -> None:
        tokens.append(type(value))
        for name in names:
            walk(getattr(value, name), tokens, met)

    return step


def _wrapper(value: object, tokens: Tokens, met: dict[int, Any]) -> None:
    """A function behind a cache; what is in the cache does not travel."""
    if by_name(value):
        tokens += (BY_NAME, weakref.ref(value))
        return
    tokens.append(type(value))
    walk(vars(value), tokens, met)


STEPS: Final[dict[type, Walk]] = {
    types.FunctionType: _function,
    types.BuiltinFunctionType: _builtin,
    types.ModuleType: _module,
    type: _class,
    list: _sequence,
    tuple: _sequence,
    set: _sequence,
    frozenset: _sequence,
    collections.deque: _sequence,
    dict: _mapping,
    collections.OrderedDict: _mapping,
    types.MappingProxyType: _mapping,
    staticmethod: _parts("__func__", "__dict__"),
    classmethod: _parts("__func__", "__dict__"),
    property: _parts("fget", "fset", "fdel"),
    types.MethodType: _parts("__func__", "__self__"),
    partial: _parts("func", "args", "keywords", "__dict__"),
    Mark: _firm,
}


# ---- names that code uses


_names: dict[int, tuple[weakref.ref[types.CodeType], tuple[str, ...]]] = {}


def names_of(code: types.CodeType) -> tuple[str, ...]:
    """Return the global names that code uses, also in the functions and classes inside it."""
    known = _names.get(id(code))
    if known is not None and known[0]() is code:
        return known[1]
    if not code.co_names and not any(type(part) is types.CodeType for part in code.co_consts):
        return ()
    found = tuple(sorted(set(used_names(code))))
    key = id(code)
    _names[key] = weakref.ref(code, lambda _: _names.pop(key, None)), found
    return found


#: with these a function reaches globals that its code does not name
FREELY: Final = frozenset({"globals", "eval", "exec", "vars"})


def reads_freely(code: types.CodeType) -> bool:
    """Say whether code may use any of the globals, also those that it does not name."""
    if not FREELY.isdisjoint(names_of(code)) or "__main__" in code.co_names or "__main__" in code.co_consts:
        return True
    return any(type(part) is types.CodeType and reads_freely(part) for part in code.co_consts)


def used_names(code: types.CodeType) -> Iterator[str]:
    """Yield the global names that code uses; in the body of a class they may be its own."""
    import dis

    for step in dis.get_instructions(code):
        if step.opname.endswith("_GLOBAL") or step.opname in ("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
            yield step.argval
    for part in code.co_consts:
        if type(part) is types.CodeType:
            yield from used_names(part)
