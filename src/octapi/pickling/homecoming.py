"""Unpickling at home: what jobs give back never changes what the script has."""

from __future__ import annotations

import pickle
import sys
import types
from typing import TYPE_CHECKING, Any

from octapi.pickling import arriving, exceptions

if TYPE_CHECKING:
    import io
    from collections.abc import Sequence


class Unpickler(pickle.Unpickler):
    """Makes functions and classes that the script lacks; those it has stay as they are."""

    def __init__(self, file: io.BytesIO, buffers: Sequence[memoryview] = ()) -> None:
        super().__init__(file, buffers=buffers)
        self._new: list[Any] = []
        self._ways: dict[str, Any] = {
            "class_of_main": self.class_,
            "class_state": self.class_state,
            "dynamic_module": self.module,
            "module_state": self.module_state,
            "function_of_main": function_of_main,
            "function_near_main": function_near_main,
            "function_state": function_state,
            "value_state": value_state,
            "dispatched_state": dispatched_state,
        }

    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle names."""
        if module == arriving.__name__ and name in self._ways:
            return self._ways[name]
        return super().find_class(module, name)

    def class_(self, mark: str, *outline: object) -> Any:
        """Return the class that the script has, or make it."""
        from cloudpickle import cloudpickle

        found = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(mark)
        if found is None:
            found = cloudpickle._lookup_class_or_track(mark, arriving.new_class(outline))
            self._new.append(found)
        return found

    def class_state(self, cls: Any, state: Any) -> None:
        """Complete a class that was made here."""
        if any(cls is new for new in self._new):
            arriving.class_state(cls, (*state[:2], None))

    def module(self, name: str) -> types.ModuleType:
        """Return a module that the script has, or make one."""
        if name in sys.modules:
            return sys.modules[name]
        found = types.ModuleType(name)
        self._new.append(found)
        return found

    def module_state(self, module: Any, values: dict[str, Any]) -> None:
        """Fill a module that was made here."""
        if any(module is new for new in self._new):
            arriving.module_state(module, values)


def function_state(function: types.FunctionType, state: Any) -> None:
    """Complete a function; the script's globals stay as they are."""
    values, facts, attributes, _submodules, _name = state
    if function.__globals__ is not arriving.names():
        function.__globals__.update(values)
    arriving.complete(function, facts, attributes)


def dispatched_state(function: Any, state: Any) -> None:
    """Complete a generic function that was made here."""
    arriving.dispatched_state(function, (*state[:2], None))


def value_state(value: Any, state: Any) -> None:
    """Complete an object that was made here."""
    arriving.value_state(value, (state[0], None))


def function_of_main(code: types.CodeType, cells: Any, _facts: dict[str, Any]) -> types.FunctionType:
    """Make a function of the script's own globals, which are left as they are."""
    return types.FunctionType(code, arriving.names(), None, None, cells)


def function_near_main(code: types.CodeType, cells: Any, own: dict[str, Any]) -> types.FunctionType:
    """Make a function that also uses what a job made: it gets a copy of the script's globals with that."""
    for name, value in list(arriving.names().items()):
        own.setdefault(name, value)
    return types.FunctionType(code, own, None, None, cells)


class Tolerant(Unpickler, exceptions.Tolerant):
    """Makes exceptions too whose classes cannot be called with their ``args``."""
