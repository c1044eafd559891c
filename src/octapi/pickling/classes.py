"""Classes made again from what :mod:`octapi.pickling.sending` says of them.

A class is made empty first, so that what refers to it finds it, and gets its attributes then.  What runs when a class
statement does (the metaclass, ``__init_subclass__``) belongs to the script, where it ran already: its effects travel,
so it is not run again.  For classes of installed packages it is run, as nobody else does it there.
"""

from __future__ import annotations

import abc
import contextlib
import enum
import types
import typing
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: classes whose hooks are parts of the language
LANGUAGE: Final = (object, typing.Generic, typing.Protocol)

Member = tuple[str, Any, Any, dict[str, Any]]


def make(meta: Any, name: str, bases: tuple[Any, ...], inside: dict[str, Any], is_own: Callable[[Any], bool]) -> Any:
    """Make an empty class; ``is_own`` says of a class whether the script brought it."""
    if not is_own(meta) and not any(is_own(base) for base in hooks(bases)):
        try:
            return meta(name, bases, dict(inside))
        except Exception as error:  # its hooks want what an empty class lacks
            del error
    with quiet(bases):
        maker = next(kind for kind in meta.__mro__ if kind in (abc.ABCMeta, type))
        return maker.__new__(meta, name, bases, dict(inside))


def make_enum(
    meta: Any, name: str, bases: tuple[Any, ...], inside: dict[str, Any], members: list[Member], boundary: Any
) -> Any:
    """Make an enumeration with its members, past constructors of its own."""
    space = meta.__prepare__(name, bases)
    for key, value in inside.items():
        space[key] = value
    rows = iter(members)
    space["__new__"] = lambda cls, *args: bare_member(cls, next(rows), args)
    space["__init__"] = lambda self, *args: None
    for member, _raw, value, _facts in members:
        space[member] = enum.member(value) if hasattr(value, "__get__") else value
    options = {} if boundary is None else {"boundary": boundary}
    with quiet(bases):
        found = enum.EnumType.__new__(meta, name, bases, space, **options)
    type.__delattr__(found, "__init__")
    if "__new_member__" in found.__dict__:
        type.__delattr__(found, "__new_member__")
    for member, _raw, _value, facts in members:
        found.__members__[member].__dict__.update(facts)
    return found


def bare_member(cls: object, member: Member, args: tuple[Any, ...]) -> Any:
    """Make one member without its class's own constructors."""
    _name, raw, value, _facts = member
    kind: Any = getattr(cls, "_member_type_", object)
    if kind.__new__ is object.__new__:
        found = object.__new__(cls)
    else:
        found = kind.__new__(cls, raw) if raw is not None else kind.__new__(cls, *args)
    found._value_ = value
    return found


def complete(cls: Any, attributes: dict[str, Any], registered: list[Any]) -> None:
    """Set the attributes of a class, and what was registered as its virtual subclasses."""
    for key, value in attributes.items():
        type.__setattr__(cls, key, value)
    if "__firstlineno__" in attributes:  # other attributes take it away
        type.__setattr__(cls, "__firstlineno__", attributes["__firstlineno__"])
    for kind in registered:
        abc.ABCMeta.register(cls, kind)


def hooks(bases: tuple[Any, ...]) -> list[Any]:
    """Return the bases of a class that want to know of each new subclass."""
    found = {base for direct in bases for base in direct.__mro__ if "__init_subclass__" in base.__dict__}
    return [
        base for base in found if base not in LANGUAGE and isinstance(base.__dict__["__init_subclass__"], classmethod)
    ]


@contextlib.contextmanager
def quiet(bases: tuple[Any, ...]) -> Iterator[None]:
    """Keep the hooks of classes from running."""
    kept = [(base, base.__dict__["__init_subclass__"]) for base in hooks(bases)]
    for base, _hook in kept:
        type.__setattr__(base, "__init_subclass__", classmethod(lambda cls, **options: None))
    try:
        yield
    finally:
        for base, hook in kept:
            type.__setattr__(base, "__init_subclass__", hook)


# ---- what is said of a class


def outline(cls: Any) -> tuple[Any, ...]:
    """Return what is needed to make a class empty."""
    own = cls.__dict__
    inside = {key: own[key] for key in ("__module__", "__qualname__", "__slots__", "__orig_bases__") if key in own}
    inside["__qualname__"] = cls.__qualname__
    if "__slots__" in inside and not isinstance(inside["__slots__"], str):
        inside["__slots__"] = tuple(inside["__slots__"])
    if isinstance(own.get("__dict__"), property):
        inside["__dict__"] = own["__dict__"]
    if not issubclass(cls, enum.Enum):
        return type(cls), cls.__name__, cls.__bases__, inside
    boundary = getattr(cls, "_boundary_", None) if issubclass(cls, enum.Flag) else None
    members = [(name, raw(cls, member), member._value_, own_facts(member)) for name, member in cls.__members__.items()]
    return type(cls), cls.__name__, cls.__bases__, inside, members, boundary


def raw(cls: Any, member: Any) -> Any:
    """Return a member's value of the type that its enumeration mixes in, or None where that cannot be had."""
    kind = cls._member_type_
    for plain, read in ((str, str.__str__), (int, int.__int__), (float, float.__float__), (bytes, bytes.__bytes__)):
        if kind is plain:
            return read(member)
    return None


#: what enumerations themselves keep in a member
MEMBER_OWN: Final = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_"})
#: what enumerations work out when they are made
ENUM_OWN: Final = frozenset(
    "_generate_next_value_ _member_names_ _member_map_ _member_type_ _value2member_map_ _unhashable_values_ "
    "_unhashable_values_map_ _hashable_values_ _new_member_ _use_args_ _value_repr_ _boundary_ _flag_mask_ "
    "_singles_mask_ _all_bits_ _inverted_ __new__ _iter_member_".split()
)
#: what every class gets anew
CLASS_OWN: Final = frozenset(
    "__weakref__ __dict__ __module__ __qualname__ __slots__ __orig_bases__ _abc_impl __annotate_func__ __annotate__ "
    "__annotations_cache__ __annotations__".split()
)


def own_facts(member: object) -> dict[str, Any]:
    """Return the attributes that an enumeration's constructors gave a member."""
    return {key: value for key, value in member.__dict__.items() if key not in MEMBER_OWN}


def attributes_of(cls: Any) -> dict[str, Any]:
    """Return the attributes that a class does not get by being made."""
    bases = cls.__bases__
    inherited = (
        bases[0].__dict__ if len(bases) == 1 else {k: v for base in reversed(bases) for k, v in base.__dict__.items()}
    )
    found = {
        key: value
        for key, value in cls.__dict__.items()
        if key not in CLASS_OWN and inherited.get(key, MISSING) is not value and not is_slot(cls, value)
    }
    if issubclass(cls, enum.Enum) and cls.__members__:
        found = {key: value for key, value in found.items() if key not in ENUM_OWN and key not in cls.__members__}
    annotations = own_annotations(cls)
    if annotations:
        found["__annotations__"] = annotations
    return found


MISSING: Final = object()


def is_slot(cls: object, value: object) -> bool:
    """Say whether an attribute is one that ``__slots__`` made."""
    return isinstance(value, types.MemberDescriptorType) and value.__objclass__ is cls


def own_annotations(cls: Any) -> Any:
    """Return the annotations of a class itself; as text where they name what is not there."""
    import inspect

    try:
        return inspect.get_annotations(cls)
    except Exception:  # they are worked out when they are asked for, from Python 3.14 on
        import annotationlib  # type: ignore[import-not-found]

        return annotationlib.get_annotations(cls, format=annotationlib.Format.STRING)


def registered_with(cls: object) -> list[Any]:
    """Return the virtual subclasses of an abstract base class."""
    if not isinstance(cls, abc.ABCMeta):
        return []
    return [found for reference in abc._get_dump(cls)[0] if (found := reference()) is not None]  # type: ignore[attr-defined]
