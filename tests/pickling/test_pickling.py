"""What a script sends to its jobs and gets back: its functions, classes, values and exceptions, as they are."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]


def run(tmp_path: Path, text: str, *arguments: str) -> str:
    """Run a script that calls functions in another process; it asserts, and what it prints is returned."""
    script = tmp_path / "script.py"
    script.write_text("from pair import there\n" + textwrap.dedent(text))
    env = dict(os.environ, PYTHONPATH=str(HERE), PYTHONWARNINGS="error::RuntimeWarning")
    done = subprocess.run(
        [sys.executable, str(script), *arguments], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ---- one namespace


def test_functions_of_the_script_share_its_globals(tmp_path: Path) -> None:
    """Helpers, recursion, ``global``, ``globals()`` and ``__main__`` itself are one namespace in a job."""
    run(
        tmp_path,
        """
        import sys
        total = 5
        def helper(n): return n if n < 1 else helper(n - 1) + 1
        def count():
            global total
            total += 1
            return read()
        def read(): return total
        def place(): return __name__, __file__, read.__module__, sys.modules["__main__"].read is read
        assert there(helper, 3) == 3
        assert there(count) == 6
        assert total == 5
        assert there(lambda: (read, globals()["total"])[1]) == 5
        assert there(place) == ("__main__", __file__, "__main__", True)
        """,
    )


def test_a_function_is_found_by_its_name_only_if_it_is_bound_to_it(tmp_path: Path) -> None:
    """A decorated function and the one inside it have one name; each stays what it is."""
    run(
        tmp_path,
        """
        import functools
        def more(f):
            @functools.wraps(f)
            def wrapper(*args): return f(*args) + 1
            return wrapper
        @more
        def work(x): return x
        assert there(work, 1) == 2
        assert there(lambda: work(1)) == 2
        assert there(lambda: work) is work
        assert there(lambda: work.__wrapped__(1)) == 1
        assert there(lambda: work.__wrapped__)(1) == 1
        """,
    )


def test_a_function_keeps_what_belongs_to_it(tmp_path: Path) -> None:
    """Annotations, documentation, defaults, attributes, names and the file of its code arrive."""
    run(
        tmp_path,
        """
        def work(a, b: int = 1, /, *c: str, d: "No.Such" = 3) -> list:
            "words"
            return work.limit
        work.limit = [7]
        def facts():
            return (work.__annotations__, work.__doc__, work.__defaults__, work.__kwdefaults__, work.__name__,
                    work.__qualname__, work.__module__, work.__code__.co_filename, work.__code__.co_firstlineno)
        assert there(work, 1) == [7]
        assert there(facts) == facts()
        """,
    )


def test_functions_that_share_a_variable_share_it_in_the_job(tmp_path: Path) -> None:
    """Two closures over one variable still see each other's changes; one may call itself."""
    run(
        tmp_path,
        """
        def counter():
            n = 0
            def up():
                nonlocal n
                n += 1
            def read(): return n
            return up, read
        def both(pair):
            up, read = pair
            up(); up()
            return read()
        def outer():
            def factorial(n): return 1 if n < 2 else n * factorial(n - 1)
            return factorial
        assert there(both, counter()) == 2
        assert there(outer(), 5) == 120
        """,
    )


def test_wrappers_of_functools_travel(tmp_path: Path) -> None:
    """Caches keep their size and attributes, generic functions their cases, and each comes back as the script's own."""
    run(
        tmp_path,
        """
        import functools
        @functools.lru_cache(maxsize=7, typed=True)
        def fib(n):
            "numbers"
            return n if n < 2 else fib(n - 1) + fib(n - 2)
        fib.extra = 1
        @functools.singledispatch
        def show(x): return "other"
        @show.register
        def _(x: int): return show("") + " int"
        class Kinds:
            @functools.cached_property
            def cached(self): return 1
            @functools.singledispatchmethod
            def show(self, x): return "other"
            @show.register
            def _(self, x: int): return "int"
            part = functools.partialmethod(lambda self, a, b: (a, b), 1)
            @functools.cache
            def kept(self): return 2
            @staticmethod
            def static(): return 3
            @classmethod
            def own(cls): return cls is Kinds
            @property
            def plain(self): return 4
        def kinds():
            k = Kinds()
            return k.cached, k.show(1), k.show(""), k.part(2), k.kept(), k.static(), k.own(), k.plain
        def facts(): return fib.cache_parameters(), fib.extra, fib.__doc__, fib.__name__, fib.cache_info().currsize
        assert there(fib, 20) == 6765
        assert there(facts) == ({"maxsize": 7, "typed": True}, 1, "numbers", "fib", 0)
        assert there(show, 1) == "other int"
        assert there(lambda: (fib, show)) == (fib, show)
        assert there(kinds) == (1, "int", "other", (1, 2), 2, 3, True, 4)
        """,
    )


def test_a_function_made_by_a_decorator_of_a_module_uses_that_module(tmp_path: Path) -> None:
    """The module's globals, a lock among them, are the worker's own, and need not travel."""
    (tmp_path / "tools.py").write_text(
        "import threading, functools\nLOCK = threading.Lock()\ncalls = []\n"
        "def counted(f):\n    @functools.wraps(f)\n    def inner(*a):\n        with LOCK:\n"
        "            calls.append(a)\n        return f(*a), len(calls)\n    return inner\n"
    )
    run(
        tmp_path,
        """
        import tools
        import pair, os
        os.environ["PYTHONPATH"] += os.pathsep + os.path.dirname(__file__)
        @tools.counted
        def work(x): return x, len(tools.calls)
        assert there(work, 5) == ((5, 1), 1)
        assert there(lambda f: f(5), work)[0][0] == 5
        """,
    )


def test_code_without_a_file_travels_by_value(tmp_path: Path) -> None:
    """Functions of ``exec``, and of modules that were made by hand, work in jobs."""
    run(
        tmp_path,
        """
        import sys, types
        space = {}
        exec("y = 4\\ndef first(): return second() + y\\ndef second(): return y", space)
        made = types.ModuleType("made")
        exec("z = 1\\nclass Kind: pass\\ndef work(): return z", made.__dict__)
        sys.modules["made"] = made
        assert there(space["first"]) == 8
        assert there(made.work) == 1
        assert there(lambda: made.work()) == 1
        assert type(there(lambda x: x, made.Kind())) is made.Kind
        """,
    )


def test_functions_that_reach_globals_by_other_ways_have_them(tmp_path: Path) -> None:
    """By ``globals()``, ``eval`` and ``__main__``, and in the body of a class; what cannot travel is left out."""
    run(
        tmp_path,
        """
        import sys, threading
        K = 3
        guard = threading.Lock()
        def helper(): return K
        def body():
            class A:
                x = K
            return A.x
        def ways():
            import __main__
            there = "guard" in globals()
            return globals()["K"], eval("helper() + 1"), sys.modules["__main__"].K, __main__.body(), there
        assert there(body) == 3
        assert there(ways) == (3, 4, 3, 3, False)
        """,
    )


def test_newer_kinds_of_types_travel(tmp_path: Path) -> None:
    """Aliases and generics with parameters of their own, from Python 3.12 on."""
    if sys.version_info < (3, 12):
        pytest.skip("this Python has none")
    run(
        tmp_path,
        """
        type Alias = list[int]
        def same[T](x: T) -> T: return x
        class Box[T]:
            def get(self, x: T) -> T: return x
        assert there(lambda: (same(1), Box[int]().get(2), Alias.__value__ == list[int])) == (1, 2, True)
        assert there(lambda: Alias) is Alias
        assert there(lambda: len(same.__type_params__)) == 1
        """,
    )


# ---- classes


def test_what_comes_back_leaves_the_script_as_it_is(tmp_path: Path) -> None:
    """Class attributes, methods and globals that changed meanwhile are not set back."""
    run(
        tmp_path,
        """
        total = 0
        class Part:
            made = 0
            def __init__(self, v): self.v = v
            def add(self):
                global total
                total += self.v
        def local():
            class Inner(Part):
                kind = 1
            return Inner
        Inner = local()
        class Holder:
            Kept = Inner
        before = Part.add
        there(Part, 1)
        Part.made, Inner.kind, total = 5, 2, 7
        part, inner = there(lambda: (Part(3), Inner(4)))
        part.add(); inner.add()
        assert type(part) is Part and type(inner) is Inner
        assert (Part.made, Inner.kind, total) == (5, 2, 14)
        assert Part.add is before
        """,
    )


def test_classes_of_many_kinds_are_the_same_on_both_sides(tmp_path: Path) -> None:
    """Dataclasses, named tuples, slots, generics, protocols, abstract classes, nested and local ones."""
    run(
        tmp_path,
        """
        import abc, collections, dataclasses, typing
        @dataclasses.dataclass(frozen=True, slots=True, order=True)
        class Point: x: int; tags: list = dataclasses.field(default_factory=list)
        @dataclasses.dataclass
        class Tree: v: int; kids: "list[Tree]" = dataclasses.field(default_factory=list)
        Pair = collections.namedtuple("Pair", "a b", defaults=[3])
        class Typed(typing.NamedTuple):
            a: int
            b: int = 2
            def both(self): return self.a + self.b
        class Slots:
            __slots__ = ("a", "__hidden", "__weakref__")
            def __init__(self): self.a, self.__hidden = 1, 2
            def hidden(self): return self.__hidden
        class Base(abc.ABC):
            @abc.abstractmethod
            def go(self): ...
        Base.register(dict)
        class Impl(Base):
            def go(self): return super().__repr__() and __class__ is Impl
        T = typing.TypeVar("T"); P = typing.ParamSpec("P"); Number = typing.NewType("Number", int)
        class Box(typing.Generic[T]):
            def get(self: "Box[T]", x: T) -> T: return x
        class Shape(typing.Protocol):
            def area(self) -> float: ...
        class Row(typing.TypedDict): a: int
        def hinted(f: typing.Callable[P, T], n: Number) -> T: return dict(hinted.__annotations__)
        class Outer:
            class Inner: pass
        def make():
            class Local: pass
            return Local
        Local = make()
        def there_and_back(value):
            found = there(lambda x: x, value)
            assert type(found) is type(value), found
            return found
        assert there_and_back(Point(1, ["t"])) == Point(1, ["t"])
        assert there_and_back(Tree(1, [Tree(2)])) == Tree(1, [Tree(2)])
        assert there_and_back(Pair(1)) == (1, 3) and there_and_back(Typed(1)).both() == 3
        assert there_and_back(Slots()).hidden() == 2
        assert there(lambda: hasattr(Slots(), "__dict__")) is False
        there_and_back(Outer.Inner()); there_and_back(Local()); there_and_back(Outer())
        assert there(lambda: (isinstance(Impl(), Base), issubclass(dict, Base), Impl().go())) == (True, True, True)
        assert there(lambda: Box[int]().get(4)) == 4
        assert there(lambda: Row(a=1)) == {"a": 1} and there(lambda: Row.__required_keys__) == {"a"}
        assert there(hinted, None, 1) == hinted(None, 1)
        try:
            there(lambda: Base())
        except TypeError as error:
            assert "abstract" in str(error)
        """,
    )


def test_enumerations_are_whole_on_both_sides(tmp_path: Path) -> None:
    """Aliases, members with attributes of their own, flags, methods; members are identical after the trip."""
    run(
        tmp_path,
        """
        import enum
        class Color(enum.Enum):
            RED = 1; CRIMSON = 1; BLUE = 2
            def nice(self): return self.name.lower()
            @classmethod
            def _missing_(cls, value): return cls.BLUE
        class Planet(enum.Enum):
            EARTH = (5.9, 6.3)
            def __init__(self, mass, radius): self.mass = mass
        class Unit(enum.Enum):
            M = ("m", 1)
            def __new__(cls, value, factor):
                found = object.__new__(cls)
                found._value_ = value
                found.factor = factor
                return found
        class Byte(bytes, enum.Enum):
            A = (65, "first")
            def __new__(cls, value, label):
                found = bytes.__new__(cls, [value])
                found._value_, found.label = value, label
                return found
        class Perm(enum.Flag): R = 1; W = 2; RW = 3
        class Level(enum.IntEnum): LOW = enum.auto(); HIGH = enum.auto()
        class Word(str, enum.Enum): A = "a"
        class Op(enum.Enum): ADD = enum.member(lambda a, b: a + b)
        class Empty(enum.Enum):
            def shout(self): return self.name + "!"
        class Filled(Empty): X = 1
        def same(member): return there(lambda x: x, member) is member
        assert all(map(same, [Color.RED, Planet.EARTH, Unit.M, Byte.A, Perm.RW, Level.HIGH, Word.A, Filled.X]))
        assert there(lambda m: m is Color.RED, Color.RED)
        assert there(lambda: Color["CRIMSON"] is Color.RED and Color(9) is Color.BLUE and Color.RED.nice()) == "red"
        assert there(lambda: (Planet.EARTH.mass, Unit.M.factor, Unit("m") is Unit.M)) == (5.9, 1, True)
        assert there(lambda: (bytes(Byte.A), Byte.A.label, Byte(65) is Byte.A)) == (b"A", "first", True)
        assert there(lambda: ((Perm.R | Perm.W).name, Level.HIGH > Level.LOW, Word.A == "a")) == ("RW", True, True)
        assert there(lambda: Perm.R | Perm.W) is Perm.RW
        assert there(lambda: (Op.ADD.value(1, 2), Filled.X.shout())) == (3, "X!")
        assert there(lambda: list(Color)) == list(Color)
        """,
    )


def test_what_a_class_statement_did_is_not_done_again(tmp_path: Path) -> None:
    """Metaclasses and ``__init_subclass__`` of the script do not run when a class arrives; their effects travel."""
    run(
        tmp_path,
        """
        class Registry:
            kinds = {}
            def __init_subclass__(cls, /, tag, **options):
                super().__init_subclass__(**options)
                cls.kinds[tag] = cls.name
        class First(Registry, tag="a"):
            name = "first"
        class Meta(type):
            made = []
            def __new__(meta, name, bases, space, **options):
                found = super().__new__(meta, name, bases, space)
                meta.made.append(name)
                found.twice = 2 * space["needed"]
                return found
        class Made(metaclass=Meta):
            needed = 5
        assert there(lambda: (First.kinds, First().name)) == ({"a": "first"}, "first")
        assert there(lambda: (Made.twice, Meta.made)) == (10, ["Made"])
        def later():
            class Second(Registry, tag="b"):
                name = "second"
            return Registry.kinds
        assert there(later) == {"a": "first", "b": "second"}
        """,
    )


def test_a_class_defined_again_is_another_class(tmp_path: Path) -> None:
    """As in a notebook: the job sees the class as it is at the call."""
    run(
        tmp_path,
        """
        class K:
            n = 1
        def value(): return K().n
        assert there(value) == 1
        class K:
            n = 2
        assert there(value) == 2
        assert type(there(lambda: K())) is K
        """,
    )


def test_what_a_job_makes_comes_home_by_value(tmp_path: Path) -> None:
    """Classes and functions made in a job, also at its top level, arrive; the script's names stay as they are."""
    run(
        tmp_path,
        """
        total = 5
        def helper(): return total
        def local():
            class Made:
                def go(self): return helper()
            return Made()
        def top():
            global Fresh, total, extra
            class Fresh: pass
            total, extra = 99, [1]
            return Fresh(), lambda: (total, extra)
        assert there(local).go() == 5
        total = 6
        assert there(local).go() == 6
        fresh, read = there(top)
        assert type(fresh).__name__ == "Fresh" and "Fresh" not in globals()
        assert read() == (6, [1]) and "extra" not in globals()
        """,
    )


# ---- values


def test_sentinels_and_singletons_stay_the_ones(tmp_path: Path) -> None:
    """A plain ``object()`` of the script, or of a module, is the same one in a job and at home."""
    run(
        tmp_path,
        """
        import functools
        MISSING = object()
        class Unset:
            def __reduce__(self): return "UNSET"
        UNSET = Unset()
        class Single:
            only = None
            def __new__(cls):
                if cls.only is None:
                    cls.only = super().__new__(cls)
                return cls.only
        def is_missing(x, default=MISSING): return x is MISSING and default is MISSING
        assert there(is_missing, MISSING)
        assert there(lambda x: x[0] is MISSING, [MISSING])
        assert there(lambda: {"a": MISSING})["a"] is MISSING
        assert there(lambda x: x is UNSET, UNSET) and there(lambda: UNSET) is UNSET
        assert there(lambda x: x is Single(), Single()) and there(lambda: Single()) is Single()
        library = functools._initial_missing
        assert there(lambda x: x is functools._initial_missing, library) and there(lambda: library) is library
        """,
    )


# ---- exceptions


def test_exceptions_come_back_as_themselves(tmp_path: Path) -> None:
    """Whatever their constructors take: two or keyword-only arguments, none, other ones than they keep."""
    run(
        tmp_path,
        """
        import dataclasses, json, subprocess, threading
        class Two(Exception):
            def __init__(self, code, text): super().__init__(f"{code}: {text}"); self.code = code
        class Other(Exception):
            def __init__(self, name): super().__init__(f"no {name}"); self.name = name
        class Named(Exception):
            def __init__(self, *, code): super().__init__(f"code {code}"); self.code = code
        class Bare(Exception):
            def __init__(self, a, b): self.a, self.b = a, b
        class Path(OSError):
            def __init__(self, path): super().__init__(2, "nope", path); self.extra = 1
        class Reduced(Exception):
            def __init__(self, a, b): super().__init__("z"); self.a, self.b = a, b
            def __reduce__(self): return Reduced, (self.a, self.b)
        class Slotted(Exception):
            __slots__ = ("v",)
            def __init__(self, v): super().__init__(v); self.v = v
        @dataclasses.dataclass(frozen=True)
        class Frozen(Exception):
            a: int
        class Root(BaseException): pass
        class Wraps(Exception):
            def __init__(self, error): super().__init__("wrapped"); self.error = error
        def throw(error): raise error
        def back(make):
            try:
                there(lambda: throw(make()))
            except BaseException as error:
                return error
        def same(make, *names):
            error, wanted = back(make), make()
            assert type(error) is type(wanted) and error.args == wanted.args and str(error) == str(wanted), repr(error)
            assert [getattr(error, name) for name in names] == [getattr(wanted, name) for name in names]
        same(lambda: Two(5, "bad"), "code")
        same(lambda: Other("x"), "name")
        same(lambda: Named(code=7), "code")
        same(lambda: Bare(1, 2), "a", "b")
        same(lambda: Path("/p"), "errno", "filename", "extra")
        same(lambda: Reduced(1, 2), "a", "b")
        same(lambda: Slotted(1), "v")
        same(lambda: Frozen(1), "a")
        same(lambda: Root("deep"))
        same(lambda: StopIteration("end"), "value")
        same(GeneratorExit)
        same(KeyboardInterrupt)
        same(lambda: SystemExit(3), "code")
        same(lambda: FileNotFoundError(2, "no", "/a", None, "/b"), "filename", "filename2")
        same(lambda: subprocess.CalledProcessError(3, ["x"], b"out"), "returncode", "cmd", "output")
        same(lambda: UnicodeDecodeError("utf-8", b"\\xff", 0, 1, "bad"), "object", "reason")
        same(lambda: json.JSONDecodeError("m", "doc", 1), "pos", "doc")
        same(lambda: ModuleNotFoundError("m", name="n", path="p"), "name", "path")
        error = back(lambda: Wraps(Two(1, "in")))
        assert type(error.error) is Two and error.error.code == 1
        assert there(lambda: [Two(1, "r"), Named(code=2)])[1].code == 2
        def local():
            class Here(Exception):
                def __init__(self, a, b): super().__init__(a); self.b = b
            return Here(1, 2)
        assert back(local).b == 2
        """,
    )


def test_what_of_an_exception_cannot_travel_is_said_in_a_note(tmp_path: Path) -> None:
    """The rest of it arrives."""
    run(
        tmp_path,
        """
        import threading
        class Holds(Exception):
            def __init__(self, message, more):
                super().__init__(message, threading.Lock())
                self.lock, self.more = threading.Lock(), more
        def fail(): raise Holds("locked", 3)
        try:
            there(fail)
        except Holds as error:
            assert error.more == 3 and error.args[0] == "locked"
            assert any("lock (of type lock) did not travel" in note for note in error.__notes__), error.__notes__
            assert any("argument 2" in note for note in error.__notes__)
        """,
    )


def test_causes_contexts_notes_and_groups_come_along(tmp_path: Path) -> None:
    """As exceptions, however long the chain, and also if it is a circle."""
    run(
        tmp_path,
        """
        class Two(Exception):
            def __init__(self, a, b): super().__init__(a); self.b = b
        class Group(ExceptionGroup):
            def derive(self, errors): return Group(self.message, errors)
        def caused():
            try: {}["k"]
            except KeyError as error: raise Two(1, 2) from error
        def during():
            try: {}["k"]
            except KeyError: raise Two(1, 2)
        def hidden():
            try: {}["k"]
            except KeyError: raise Two(1, 2) from None
        def noted():
            error = Two(1, 2)
            error.add_note("look here")
            raise error
        def group(): raise Group("many", [ValueError("x"), ExceptionGroup("in", [Two(3, 4)])])
        def circle():
            one, two = ValueError(1), ValueError(2)
            one.__cause__, two.__cause__ = two, one
            raise one
        def long():
            last = None
            for n in range(3000):
                error = ValueError(n)
                error.__cause__ = last
                last = error
            raise last
        def back(function):
            try: there(function)
            except BaseException as error: return error
        error = back(caused)
        assert type(error.__cause__) is KeyError and error.__context__ is error.__cause__
        error = back(during)
        assert error.__cause__ is None and type(error.__context__) is KeyError and not error.__suppress_context__
        error = back(hidden)
        assert error.__cause__ is None and type(error.__context__) is KeyError and error.__suppress_context__
        assert back(noted).__notes__ == ["look here"]
        error = back(group)
        assert type(error) is Group and error.exceptions[1].exceptions[0].b == 4
        error = back(circle)
        assert error.__cause__.__cause__ is error
        error = back(long)
        assert error.args == (2999,) and error.__cause__.args == (2998,)
        """,
    )


# ---- what does not travel


def test_what_cannot_be_pickled_is_named(tmp_path: Path) -> None:
    """The argument, the global, the variable of the function around, the attribute; its type; and why."""
    run(
        tmp_path,
        """
        import socket, threading
        from octapi.client import payload
        def words(make):
            try: make()
            except Exception as error: return str(error)
            raise AssertionError("it travelled")
        class Holder:
            def __init__(self): self.deep = {"a": [1, threading.Lock()]}
        guard = socket.socket()
        def uses(): return guard
        def around():
            connection = socket.socket()
            return lambda: connection
        def calls(): return uses()
        text = words(lambda: payload.call_bytes((1, threading.Lock()), {}))
        assert "argument 2, of type _thread.lock" in text and "cannot pickle" in text, text
        text = words(lambda: payload.call_bytes((), {"x": Holder()}))
        assert "argument x=, in it the attribute deep, in it ['a'], in it [1], of type _thread.lock" in text, text
        text = words(lambda: payload.function_bytes(uses))
        assert "the function uses, in it the global guard" in text, text
        text = words(lambda: payload.function_bytes(calls))
        assert "the function calls, in it the global uses, in it the global guard" in text, text
        text = words(lambda: payload.function_bytes(around()))
        assert "the variable connection of the function around it" in text and "socket" in text, text
        text = words(lambda: payload.call_bytes(((n for n in "ab"),), {}))
        assert "argument 1, of type generator" in text, text
        """,
    )


def test_an_argument_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    """By its place, or its name."""
    run(
        tmp_path,
        """
        class Bad:
            def __reduce__(self): return fail, ("why",)
        def fail(text): raise ValueError(text)
        def take(*args, **kwargs): return args
        def note(*args, **kwargs):
            try: there(take, *args, **kwargs)
            except ValueError as error: return error.__notes__[-1]
        assert "argument 2 of the call" in note([1, {2: 3}], Bad(), "x")
        assert "argument 5 of the call" in note(1, 2, 3, (4,), [Bad()])
        assert "argument key= of the call" in note("a", other=[1], key={"a": Bad()})
        """,
    )
