"""Whether a job's code can be seen to leave its process as it was, so that many jobs may share one.

A job has a process of its own unless its code is *harmless*: it calls nothing but builtins and modules of a list, and
other code of which the same holds.  The look is at bytecode, before anything runs, and errs on the side of a process:
what is not known to be harmless is not.  It guards against accidents, not against attackers: those who share a slot
belong to one script.
"""

from __future__ import annotations

import abc
import builtins
import collections
import dataclasses
import enum
import functools
import opcode
import reprlib
import sys
import types
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ALLOWED_BUILTINS: Final = frozenset(
    "abs all any ascii bin bool bytearray bytes callable chr complex dict divmod enumerate filter float format "
    "frozenset hash hex id int isinstance issubclass iter len list map max memoryview min next object oct ord "
    "pow print range repr reversed round set slice sorted str sum tuple type zip staticmethod classmethod "
    "property super NotImplemented Ellipsis".split()
)
#: modules whose functions keep nothing that a later call could see; for some of them, only these names
ANY: Final[frozenset[str]] = frozenset()
MODULES: Final[dict[str, frozenset[str]]] = {
    **dict.fromkeys(
        "array base64 binascii bisect cmath collections datetime fractions hashlib heapq hmac itertools math numbers "
        "operator statistics string struct textwrap unicodedata zlib".split(),
        ANY,
    ),
    "functools": frozenset(("reduce", "partial", "cmp_to_key")),
    "json": frozenset(("dumps", "loads", "JSONDecodeError")),
    "platform": frozenset(("machine", "node", "processor", "python_version", "release", "system")),
    "random": frozenset(
        "Random betavariate choice choices expovariate gauss getrandbits normalvariate paretovariate "
        "randbytes randint random randrange sample shuffle triangular uniform vonmisesvariate weibullvariate".split()
    ),
    "re": frozenset(
        "compile escape findall finditer fullmatch match search split sub subn A ASCII DOTALL I IGNORECASE M "
        "MULTILINE S VERBOSE X error".split()
    ),
    "socket": frozenset(("gethostname",)),
    "time": frozenset(
        "gmtime localtime monotonic monotonic_ns perf_counter perf_counter_ns process_time sleep strftime time "
        "time_ns".split()
    ),
    "numpy": frozenset(
        "abs absolute add all allclose any arange argmax argmin argsort around array asarray average bool_ "
        "ceil clip concatenate convolve corrcoef cos cosh count_nonzero cov cross cumprod cumsum degrees diag diff "
        "divide dot dtype e einsum empty equal exp expm1 eye fft fftfreq float32 float64 floor full greater "
        "histogram hstack hypot identity ifft inf inner int32 int64 interp isclose isfinite isnan kron less linalg "
        "linspace log log10 log1p log2 logical_and logical_not logical_or logspace max maximum mean median meshgrid "
        "min minimum mod multiply nan nan_to_num nansum ndarray negative newaxis nonzero norm ones ones_like outer "
        "percentile pi polyfit polyval power prod quantile radians ravel reshape rint roll round searchsorted sign "
        "sin sinh size solve sort sqrt square squeeze stack std subtract sum svd take tan tanh tensordot tile trace "
        "transpose trapezoid tril triu uint8 unique unravel_index var vdot vstack where zeros zeros_like det eig "
        "eigh inv matmul".split()
    ),
}
ATOMS: Final = (int, float, complex, str, bytes, bool, type(None), type(Ellipsis))

_OPS: Final = opcode.opmap
_FORBIDDEN: Final = frozenset(
    _OPS[name]
    for name in ("DELETE_ATTR", "STORE_NAME", "DELETE_NAME", "IMPORT_STAR", "LOAD_BUILD_CLASS", "DELETE_GLOBAL")
    if name in _OPS
)
_LOADS_LOCAL: Final = frozenset(_OPS[name] for name in ("LOAD_FAST", "LOAD_FAST_BORROW") if name in _OPS)
_LOADS_TWO: Final = frozenset(
    _OPS[name] for name in ("LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW") if name in _OPS
)
_STORE_ATTR: Final = _OPS["STORE_ATTR"]
_STORE_GLOBAL: Final = _OPS["STORE_GLOBAL"]
_STORE_FREE: Final = (_OPS["STORE_DEREF"], _OPS["DELETE_DEREF"])
#: flags of coroutines and asynchronous generators, which need an event loop
_ASYNCHRONOUS: Final = 0x80 | 0x200
#: attributes by which code reaches frames, code and namespaces
_INSIDES: Final = ("__", "f_", "gi_", "cr_", "ag_", "tb_", "co_")
#: special names that code may use
_SPECIAL: Final = frozenset(
    "__name__ __init__ __class__ __len__ __doc__ __post_init__ __eq__ __lt__ __repr__ __str__ __hash__".split()
)
#: kinds of classes whose instances can be made without an effect on the class
_METACLASSES: Final = (type, abc.ABCMeta, enum.EnumType)
#: what Python, and the standard library for its own kinds of classes, puts into a class
_OF_CLASSES: Final = frozenset(
    "__module__ __dict__ __weakref__ __doc__ __qualname__ __annotations__ __annotate__ __annotate_func__ "
    "__annotations_cache__ __slots__ __match_args__ __dataclass_fields__ __dataclass_params__ __abstractmethods__ "
    "__static_attributes__ __firstlineno__ __parameters__ __orig_bases__ __hash__ __eq__ __new__ _abc_impl _fields "
    "_field_defaults _make _replace _asdict __getnewargs__ __replace__ __getstate__ __setstate__".split()
)
#: where the methods come from that the standard library adds to classes
_ADDED: Final = (dataclasses.__file__, collections.__file__, reprlib.__file__)


class Verdict:
    """What a look found: ``is_harmless``, and ``is_plain`` if all that it reaches cannot be changed by a job.

    ``is_imported`` says that some of it was imported, so that loading it again would not make it new.
    """

    def __init__(self) -> None:
        self.is_harmless = True
        self.is_plain = True
        self.is_imported = False
        self._seen: set[int] = set()

    def look(self, value: object) -> None:
        """Look at an object that a job can reach, and at all that it reaches."""
        if not self.is_harmless or id(value) in self._seen:
            return
        self._seen.add(id(value))
        if isinstance(value, ATOMS) and type(value) in ATOMS:
            return
        if isinstance(value, types.FunctionType):
            if not self._is_in_module(value, value.__name__):
                self._function(value)
        elif isinstance(value, types.ModuleType):
            self.is_harmless = value.__name__ in MODULES
        elif type(value) in (list, set, frozenset, tuple, dict):
            self._container(value)
        elif isinstance(value, types.MethodType):
            self.look(value.__func__)
            self.look(value.__self__)
        elif isinstance(value, type) and value.__module__ == "__main__":
            self._class(value)
        elif type(value) is functools.partial:
            self.is_plain = False
            for part in (value.func, value.args, value.keywords):
                self.look(part)
        elif not self._is_listed(value):
            self.is_harmless = False

    def _is_listed(self, value: object) -> bool:
        """Say whether a value is a builtin, or something of a listed module, that keeps nothing."""
        name = getattr(value, "__name__", None)
        owner = None if isinstance(value, type) else getattr(value, "__self__", None)
        if not isinstance(name, str) or owner not in (None, builtins):
            return owner is not None and self._is_in_module(value, name)
        if getattr(builtins, name, None) is value:
            return name in ALLOWED_BUILTINS or _is_exception(value)
        return self._is_in_module(value, name)

    def _is_in_module(self, value: object, name: object) -> bool:
        owner = getattr(value, "__module__", None)
        module = sys.modules.get(owner) if isinstance(owner, str) else None
        if module is None or owner not in MODULES or not isinstance(name, str):
            return False
        return getattr(module, name, None) is value and is_allowed(str(owner), name)

    def _container(self, value: Any) -> None:
        if type(value) in (list, set, dict):
            self.is_plain = False
        for part in value:
            self._part(part)
        if type(value) is dict:
            for part in value.values():
                self._part(part)

    def _part(self, value: object) -> None:
        """Look at what is not found by a global name: a function there would keep the globals of earlier jobs."""
        if isinstance(value, types.FunctionType):
            self.is_plain = False
        self.look(value)

    def _class(self, value: type) -> None:
        """Look at a class of the script: it must be of a plain kind, and its methods change nothing but instances."""
        if type(value) not in _METACLASSES:
            self.is_harmless = False
            return
        for base in value.__bases__:
            if base is not object and not base.__module__.startswith(("enum", "abc", "typing")):
                self.look(base)
        if isinstance(value, enum.EnumType):
            return
        for name, part in vars(value).items():
            if name not in _OF_CLASSES or (name in ("__new__", "__eq__", "__hash__") and _is_written(part)):
                self._attribute(part)

    def _attribute(self, part: object) -> None:
        if isinstance(part, (types.MemberDescriptorType, types.GetSetDescriptorType)) or not _is_written(part):
            return
        if isinstance(part, (staticmethod, classmethod)):
            self.look(part.__func__)
        elif isinstance(part, property):
            for function in (part.fget, part.fset, part.fdel):
                self._method(function)
        elif isinstance(part, types.FunctionType):
            self._method(part)
        else:
            self._part(part)

    def _method(self, value: Any) -> None:
        if value is not None and id(value) not in self._seen:
            self._seen.add(id(value))
            self._function(value, is_method=True)

    def _function(self, value: types.FunctionType, is_method: bool = False) -> None:
        if value.__code__.co_flags & _ASYNCHRONOUS or set(value.__dict__) - {"__isabstractmethod__"}:
            self.is_harmless = False
            return
        home = sys.modules.get(value.__module__ or "")
        if home is not None and home.__name__ != "__main__" and home.__dict__ is value.__globals__:
            self.is_imported = True
        for part in (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()):
            self._part(part)
        for cell in value.__closure__ or ():
            try:
                self._part(cell.cell_contents)
            except ValueError:  # it was never filled
                continue
        self._code(value.__code__, value.__globals__, is_method)

    def _code(self, code: types.CodeType, names: dict[str, Any], is_method: bool = False) -> None:
        self.is_harmless = self.is_harmless and code_is_harmless(code, is_method)
        self.is_plain = self.is_plain and not stores(code)
        for name in global_names(code):
            if name in names:
                self.look(names[name])
            elif name in vars(builtins) and not self._is_listed(vars(builtins)[name]):
                self.is_harmless = False
        modules = set(imports(code)) | {
            names[name].__name__ for name in global_names(code) if isinstance(names.get(name), types.ModuleType)
        }
        if not all(module in MODULES for module in modules) or not names_are_allowed(code, modules):
            self.is_harmless = False
        for part in code.co_consts:
            if isinstance(part, types.CodeType) and self.is_harmless:
                self._code(part, names)


def look(value: object) -> Verdict:
    """Return what can be said of a callable before it runs."""
    found = Verdict()
    try:
        found.look(value)
    except Exception:  # an object that cannot even be looked at has a process of its own
        found.is_harmless = False
    if found.is_imported and not found.is_plain:
        found.is_harmless = False
    return found


def is_allowed(module: str, name: str) -> bool:
    """Say whether harmless code may use ``name`` of a listed module."""
    return not MODULES[module] or name in MODULES[module]


def _is_exception(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def _is_written(part: object) -> bool:
    """Say whether somebody wrote an attribute of a class, and not the library that made the class."""
    function = getattr(part, "__wrapped__", part)
    code = getattr(function, "__code__", None)
    if code is None:
        return type(part).__name__ != "_tuplegetter"
    is_made = code.co_qualname.startswith("__create_fn__") or _module_of(function).startswith("namedtuple_")
    return not is_made and code.co_filename not in _ADDED


def _module_of(function: object) -> str:
    return str(getattr(function, "__globals__", {}).get("__name__", ""))


@functools.lru_cache(maxsize=256)
def code_is_harmless(code: types.CodeType, is_method: bool = False) -> bool:
    """Say whether a code object has no instruction, and no name, that could change more than what is the job's own.

    A method may set attributes of its instance, which is its first local variable.
    """
    if code.co_flags & _ASYNCHRONOUS:
        return False
    if any(name.startswith(_INSIDES) and name not in _SPECIAL for name in code.co_names):
        return False
    ops = [(op, arg) for op, arg in zip(code.co_code[::2], code.co_code[1::2], strict=True) if op]
    if any(op in _FORBIDDEN for op, _ in ops):
        return False
    targets = [ops[place - 1] for place, (op, _) in enumerate(ops) if op == _STORE_ATTR]
    return not targets or (is_method and all(_is_first_local(op, arg) for op, arg in targets))


def _is_first_local(op: int, arg: int) -> bool:
    return (op in _LOADS_LOCAL and arg == 0) or (op in _LOADS_TWO and arg & 15 == 0)


@functools.lru_cache(maxsize=256)
def stores(code: types.CodeType) -> bool:
    """Say whether code may change a global, or a variable of a function around it."""
    ops = code.co_code[::2]
    return _STORE_GLOBAL in ops or (bool(code.co_freevars) and any(op in _STORE_FREE for op in ops))


def instructions(code: types.CodeType) -> Iterator[tuple[int, int]]:
    """Yield the instructions of a code object with their full arguments."""
    extended = 0
    for op, arg in zip(code.co_code[::2], code.co_code[1::2], strict=True):
        if op == _OPS["EXTENDED_ARG"]:
            extended = (extended | arg) << 8
        else:
            yield op, extended | arg
            extended = 0


@functools.lru_cache(maxsize=256)
def imports(code: types.CodeType) -> tuple[str, ...]:
    """Return the names of the modules that a code object imports."""
    return tuple(code.co_names[arg] for op, arg in instructions(code) if op == _OPS["IMPORT_NAME"])


@functools.lru_cache(maxsize=256)
def global_names(code: types.CodeType) -> tuple[str, ...]:
    """Return the names that a code object looks for among globals and builtins."""
    found = (code.co_names[arg >> 1] for op, arg in instructions(code) if op == _OPS["LOAD_GLOBAL"])
    return tuple(dict.fromkeys(found))


def names_are_allowed(code: types.CodeType, modules: set[str]) -> bool:
    """Say whether none of a code object's names is one that harmless code may not use of these modules.

    What an attribute is taken from is not known, so a name that any of the modules has must be allowed.
    """
    for module in modules:
        if MODULES.get(module):
            known = sys.modules.get(module) or importable(module)
            if known is None:
                return False
            if any(hasattr(known, name) and name not in MODULES[module] and name != module for name in code.co_names):
                return False
    return True


def importable(module: str) -> Any:
    """Import a listed module, as the job will; None if that fails, which is the job's to say."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError:
        return None


#: instructions of a module that does nothing but define functions
_DEFINES: Final = frozenset(
    _OPS[name]
    for name in (
        "CACHE RESUME LOAD_CONST MAKE_FUNCTION STORE_NAME RETURN_VALUE RETURN_CONST POP_TOP SET_FUNCTION_ATTRIBUTE "
        "BUILD_TUPLE NOP EXTENDED_ARG LOAD_SMALL_INT BUILD_CONST_KEY_MAP BUILD_MAP NOT_TAKEN"
    ).split()
    if name in _OPS
)


def only_defines(code: types.CodeType) -> bool:
    """Say whether a module's code does nothing but define functions."""
    return all(op in _DEFINES for op in code.co_code[::2])
