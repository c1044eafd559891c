"""Pickling of what belongs to a script: its functions, classes and values, by value, so that workers need not have it.

Two things are decided here for each object: whether a worker finds it by name, and if not, what of it is sent.  It
goes further than cloudpickle, on which it is built: what the script has at top level keeps its name, cells that two
functions share stay shared, code keeps its file, and caches, generic functions and plain sentinels travel too.
"""

from __future__ import annotations

import copyreg
import functools
import io
import marshal
import sys
import types
import typing
from typing import Any, Final

from cloudpickle import cloudpickle

from octapi.pickling import arriving, classes, fresh
from octapi.pickling.arriving import MAIN
from octapi.pickling.snapshot import names_of, reads_freely

#: what a module says of itself that functions of it may ask
FACTS: Final = ("__file__", "__package__", "__doc__")
#: the type that functools.lru_cache and functools.cache make
CACHED: Final[Any] = type(functools.lru_cache(len))
#: the code that all generic functions share
DISPATCH: Final[Any] = functools.singledispatch(len).__code__  # type: ignore[attr-defined]
#: what chooses the case of a generic function; generic methods of Python 3.13 hold it alone
CHOICE: Final[Any] = functools.singledispatch(len).dispatch.__code__
REDUCE: Final[Any] = object.__reduce__
REDUCE_EX: Final[Any] = object.__reduce_ex__
#: the last format of marshal that does not depend on who else holds a constant
SAME_EACH_TIME: Final = 2
#: where the arguments of a code object hold its file name
FILENAME: Final = 10


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles for another process that stands for the script."""

    def __init__(self, file: io.BytesIO, *, is_whole: bool = True) -> None:
        super().__init__(file, protocol=5)
        main = sys.modules.get(MAIN)
        self.main: dict[str, Any] = main.__dict__ if main is not None else {}
        self.facts = {key: self.main[key] for key in FACTS if self.main.get(key) is not None}
        #: whether a function that may use any global gets all that can be pickled
        self.is_whole = is_whole
        self._all: dict[str, Any] | None = None
        self._apart: dict[int, dict[str, Any]] = {}
        self._fresh: dict[int, tuple[Any, Any]] = {}

    def reducer_override(self, obj: object) -> Any:
        """Say how to pickle any object that is not of a basic type."""
        kind = type(obj)
        special = SPECIAL.get(kind)
        if special is not None:
            return special(self, obj)
        if issubclass(kind, type):
            return self.class_(obj)
        if (kind.__reduce_ex__ is REDUCE_EX and kind.__reduce__ is REDUCE) or kind in self.dispatch_table:
            return NotImplemented
        return self.with_own_way(obj)

    def bound(self, obj: object) -> str | None:
        """Return the top-level name of the script under which an object is bound, if it is its own name."""
        name = getattr(obj, "__name__", None)
        return name if isinstance(name, str) and self.main.get(name) is obj else None

    def known(self, obj: object) -> str | None:
        """Return the name by which the other side has an object of the script already."""
        return None

    def name_of(self, value: object) -> str | None:
        """Return the same for a value that does not say its own name."""
        return None

    # ---- functions

    def function(self, function: types.FunctionType) -> Any:
        """Reduce a function: by name if workers can import it."""
        own = function.__globals__
        if own is OURS or (own is not self.main and is_importable(function)):
            return NotImplemented
        path = self.known(function)
        if path is not None:
            return arriving.of_main, (path,)
        if function.__code__ is DISPATCH and hasattr(function, "registry"):
            return self.dispatched(function)
        if function.__code__ is CHOICE:
            registry = dict(zip(CHOICE.co_freevars, function.__closure__ or (), strict=False))["registry"].cell_contents
            return arriving.choice, (registry[object],), list(registry.items()), None, None, arriving.choice_state
        maker, where = self.home_of(function)
        state = self.function_state(function)
        args = (function.__code__, function.__closure__, where)
        return maker, args, state, None, None, arriving.function_state

    def home_of(self, function: types.FunctionType) -> tuple[Any, Any]:
        """Say whose globals a function gets on the other side."""
        own = function.__globals__
        if own is self.main:
            return arriving.function_of_main, self.facts
        module = sys.modules.get(own.get("__name__", ""))
        if module is not None and getattr(module, "__dict__", None) is own and has_source(module):
            return arriving.function_of_module, module.__name__
        apart = self._apart.get(id(own))
        if apart is None:
            apart = {key: own[key] for key in ("__name__", "__package__", "__path__", "__file__") if key in own}
            self._apart[id(own)] = apart
        return arriving.function_apart, apart

    def function_state(self, function: types.FunctionType) -> tuple[Any, ...]:
        """Return what a new function of the same code lacks."""
        values, submodules = self.globals_of(function)
        return values, facts_of(function), function.__dict__ or None, submodules, self.bound(function)

    def globals_of(self, function: types.FunctionType) -> tuple[dict[str, Any], Any]:
        """Return the globals that a function needs on the other side, and the submodules it reaches through them."""
        own, code = function.__globals__, function.__code__
        used = names_of(code)
        values = {name: self.travelling(own[name]) for name in used if name in own and name != "__builtins__"}
        modules = [value for value in values.values() if type(value) is types.ModuleType]
        submodules = cloudpickle._find_imported_submodules(code, modules) if modules else None
        if own is not self.main:
            return (
                ({}, submodules) if self.home_of(function)[0] is arriving.function_of_module else (values, submodules)
            )
        if self.is_whole and reads_freely(code):
            values = {**self.all_names(), **values}
        return values, submodules

    def travelling(self, value: Any) -> Any:
        """Return what is sent of a global, the same for each function that uses it."""
        found = fresh.travelling(value)
        if found is not value:  # the value is kept with it, so that its id is nobody else's
            found = self._fresh.setdefault(id(value), (found, value))[0]
        return found

    def all_names(self) -> dict[str, Any]:
        """Return the globals of the script that can be pickled, for a function that may use any."""
        if self._all is None:
            self._all = {}
            for name, value in list(self.main.items()):
                if not (name.startswith("__") and name.endswith("__")) and travels(value):
                    self._all[name] = value
        return self._all

    def dispatched(self, function: Any) -> Any:
        """Reduce a generic function to its cases."""
        registry = function.registry
        cases = [(kind, case) for kind, case in registry.items() if kind is not object]
        attributes = {k: v for k, v in function.__dict__.items() if k not in DISPATCH_OWN}
        state = (cases, attributes, self.bound(function))
        return arriving.dispatched, (registry[object],), state, None, None, arriving.dispatched_state

    def cached(self, function: Any) -> Any:
        """Reduce a function with a cache: the cache stays here."""
        if getattr(function, "__module__", MAIN) != MAIN and is_found(function):
            return NotImplemented
        path = self.known(function)
        if path is not None:
            return arriving.of_main, (path,)
        attributes = {k: v for k, v in function.__dict__.items() if k not in ("__wrapped__", "cache_parameters")}
        facts = function.cache_parameters()
        args = (function.__wrapped__, facts["maxsize"], facts["typed"])
        return arriving.cached, args, (attributes, self.bound(function)), None, None, arriving.value_state

    def cell(self, cell: types.CellType) -> Any:
        """Reduce a cell so that functions that share it share it on the other side."""
        try:
            content = cell.cell_contents
        except ValueError:  # not filled yet
            return arriving.cell, ()
        return arriving.cell, (), (content,), None, None, arriving.cell_state

    def code(self, code: types.CodeType) -> Any:
        """Reduce code; unlike with cloudpickle it keeps its file's name, for tracebacks."""
        try:
            return marshal.loads, (marshal.dumps(code, SAME_EACH_TIME),)
        except ValueError:  # constants that no source text gives
            make, args = cloudpickle._code_reduce(code)
            return make, (*args[:FILENAME], code.co_filename, *args[FILENAME + 1 :])

    # ---- classes

    def class_(self, cls: object) -> Any:
        """Reduce a class: by name if workers can import it."""
        if cls.__module__ not in (MAIN, "__mp_main__"):
            found = cloudpickle._class_reduce(cls)
            if found is not NotImplemented and found[0] not in DYNAMIC:
                return found
            if found is NotImplemented and is_sourced(cls.__module__):
                return found
        path = self.known(cls)
        if path is not None:
            return arriving.of_main, (path,)
        mark = self.mark_of(cls)
        state = (classes.attributes_of(cls), classes.registered_with(cls), self.bound(cls))
        return arriving.class_of_main, (mark, *classes.outline(cls)), state, None, None, arriving.class_state

    def mark_of(self, cls: object) -> str:
        """Return what tells a class from all others, here and where it arrives."""
        return str(cloudpickle._get_or_create_tracker_id(cls))

    def module(self, module: types.ModuleType) -> Any:
        """Reduce a module: by name, unless it was made without a file."""
        if module.__name__ == MAIN:
            return arriving.of_main, ("",)
        if module.__name__ not in sys.modules or has_source(module):
            return NotImplemented
        values = {key: value for key, value in module.__dict__.items() if key != "__builtins__"}
        return arriving.dynamic_module, (module.__name__,), values, None, None, arriving.module_state

    # ---- values

    def sentinel(self, value: object) -> Any:
        """Reduce a plain ``object()`` to the name of a module under which it is found, if there is one."""
        module, name = sentinels(len(sys.modules), next(reversed(sys.modules))).get(id(value), ("", ""))
        if module and getattr(sys.modules.get(module), "__dict__", {}).get(name) is value:
            return arriving.of_module, (module, name)
        for name, other in list(self.main.items()):
            if other is value:
                path = self.name_of(value)
                return (arriving.of_main, (path,)) if path is not None else (arriving.sentinel, (name,))
        return NotImplemented

    def cached_property(self, value: Any) -> Any:
        """Reduce a cached property without its lock."""
        attributes = {key: item for key, item in value.__dict__.items() if key not in ("lock", "func")}
        return functools.cached_property, (value.func,), (attributes, None), None, None, arriving.value_state

    def parameter(self, value: Any) -> Any:
        """Reduce a parameter of a generic type."""
        path = self.name_of(value)
        if path is not None:
            return arriving.of_main, (path,)
        return type(value), (value.__name__,), (None, self.bound(value)), None, None, arriving.value_state

    def generic_method(self, value: Any) -> Any:
        """Reduce a generic method to its generic function and general case."""
        state = ({"dispatcher": value.dispatcher}, None)
        return functools.singledispatchmethod, (value.func,), state, None, None, arriving.value_state

    def alias(self, value: Any) -> Any:
        """Reduce the alias of a type."""
        if getattr(sys.modules.get(value.__module__), value.__name__, None) is value and value.__module__ != MAIN:
            return NotImplemented
        path = self.name_of(value)
        if path is not None:
            return arriving.of_main, (path,)
        facts = (value.__name__, value.__value__, value.__type_params__)
        return arriving.alias, facts, (None, self.bound(value)), None, None, arriving.value_state

    def with_own_way(self, obj: object) -> Any:
        """Reduce an object of a class that says how; one that gives its own name in the script is sent with it."""
        if getattr(obj, "__module__", None) != MAIN:
            return NotImplemented
        found = obj.__reduce_ex__(5)
        if not isinstance(found, str):
            return found
        path = self.known(obj)
        if path is not None:
            return arriving.of_main, (path,)
        name = found if self.main.get(found) is obj else None
        attributes = getattr(obj, "__dict__", None)
        return copyreg.__newobj__, (type(obj),), (attributes, name), None, None, arriving.value_state  # type: ignore[attr-defined]


#: the functions that make everything again are there by name
OURS: Final = arriving.__dict__
#: what a generic function gets when it is made
DISPATCH_OWN: Final = frozenset({"register", "dispatch", "registry", "_clear_cache", "__wrapped__"})
#: what cloudpickle makes classes with
DYNAMIC: Final = (cloudpickle._make_skeleton_class, cloudpickle._make_skeleton_enum)
SPECIAL: Final[dict[Any, Any]] = {
    types.FunctionType: Pickler.function,
    types.CodeType: Pickler.code,
    types.CellType: Pickler.cell,
    object: Pickler.sentinel,
    types.ModuleType: Pickler.module,
    typing.ParamSpec: Pickler.parameter,
    typing.TypeVarTuple: Pickler.parameter,
    CACHED: Pickler.cached,
    functools.cached_property: Pickler.cached_property,
    functools.singledispatchmethod: Pickler.generic_method,
    getattr(typing, "TypeAliasType", Pickler): Pickler.alias,
}


def facts_of(function: types.FunctionType) -> dict[str, Any]:
    """Return the attributes of a function that do not follow from its code and globals."""
    code = function.__code__
    facts: dict[str, Any] = {}
    if function.__name__ != code.co_name:
        facts["__name__"] = function.__name__
    if function.__qualname__ != code.co_qualname:
        facts["__qualname__"] = function.__qualname__
    if function.__module__ != function.__globals__.get("__name__"):
        facts["__module__"] = function.__module__
    first = code.co_consts[0] if code.co_consts else None
    if function.__doc__ != (first if isinstance(first, str) else None):
        facts["__doc__"] = function.__doc__
    for key in ("__defaults__", "__kwdefaults__", "__type_params__"):
        value = getattr(function, key, None)
        if value:
            facts[key] = value
    annotations = annotations_of(function)
    if annotations:
        facts["__annotations__"] = annotations
    return facts


def annotations_of(function: types.FunctionType) -> Any:
    """Return a function's annotations; as text where they name what is not there."""
    try:
        return function.__annotations__
    except Exception:  # they are worked out when they are asked for, from Python 3.14 on
        import annotationlib  # type: ignore[import-not-found]

        return annotationlib.get_annotations(function, format=annotationlib.Format.STRING)


@functools.lru_cache(maxsize=1)
def sentinels(_count: int, _last: str) -> dict[int, tuple[str, str]]:
    """Return where modules hold a plain ``object()``, by its id; the arguments tell one state of all from another."""
    return {
        id(value): (module, name)
        for module, found in list(sys.modules.items())
        if module != MAIN and has_source(found)
        for name, value in list(getattr(found, "__dict__", {}).items())
        if type(value) is object
    }


def has_source(module: object) -> bool:
    """Say whether a module came from somewhere, so that it can be imported on another computer."""
    if getattr(module, "__spec__", None) is not None:
        return True
    name = getattr(module, "__name__", None)
    top = sys.modules.get(name.partition(".")[0]) if isinstance(name, str) else None
    return getattr(top, "__spec__", None) is not None


def is_sourced(name: str) -> bool:
    """Say the same of a module by its name."""
    return name in sys.modules and has_source(sys.modules[name])


def is_importable(obj: object) -> bool:
    """Say whether a function or class is found by name in a module that can be imported elsewhere."""
    found = cloudpickle._lookup_module_and_qualname(obj)
    return found is not None and found[0].__name__ != "__mp_main__" and has_source(found[0]) and not by_value(found[0])


def by_value(module: object) -> bool:
    """Say whether the script asked cloudpickle to send a module's functions and classes by value."""
    return bool(cloudpickle._is_registered_pickle_by_value(module))


def is_found(obj: Any) -> bool:
    """Say whether a module has an object under its own name."""
    try:
        found: Any = sys.modules[obj.__module__]
        for part in obj.__qualname__.split("."):
            found = getattr(found, part)
    except (AttributeError, KeyError):
        return False
    return found is obj


def travels(value: object) -> bool:
    """Say whether a value can be pickled."""
    try:
        with io.BytesIO() as file:
            Pickler(file, is_whole=False).dump(value)
    except Exception:  # whatever it is: this is the question
        return False
    return True


def dumps(obj: object) -> bytes:
    """Pickle for a slot.  Raises whatever pickling raises."""
    with io.BytesIO() as file:
        Pickler(file).dump(obj)
        return file.getvalue()
