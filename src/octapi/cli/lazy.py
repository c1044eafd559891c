"""Commands whose modules are imported when they are asked for: what one command needs costs the others nothing."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar, get_type_hints

import typer
from typer.core import TyperCommand

from octapi.cli.commands import Command, Group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Row(NamedTuple):
    """One command: its name, ``module:function`` in :mod:`octapi.cli`, its help's first sentence and an example.

    ``rows`` are further commands, if it is a group; then the function is a :class:`typer.Typer`.  Options of a script
    or of a command of somebody else start with its name where ``is_foreign``.
    """

    name: str
    place: str
    summary: str
    example: str
    panel: str = ""
    rows: tuple[Row, ...] = ()
    cls: str = ""
    is_foreign: bool = False
    takes_more: bool = False
    is_hidden: bool = False


class LazyCommand(TyperCommand):
    """Stands for a command in lists and completions; :meth:`load` returns the command itself."""

    def __init__(self, row: Row) -> None:
        super().__init__(row.name, help=row.summary, rich_help_panel=row.panel or None, hidden=row.is_hidden)
        self.row = row

    def load(self) -> Any:
        """Import the command's module, and return the command."""
        row = self.row
        module, _, name = row.place.partition(":")
        found = getattr(importlib.import_module(f"octapi.cli.{module}"), name)
        epilog = f"Example: {row.example}"
        command: Any
        if isinstance(found, typer.Typer):
            command = typer.main.get_group(found)
            command.name, command.epilog = row.name, epilog
            command.commands.update(stubs(row.rows))
            return command
        settings = {"allow_interspersed_args": False} if row.is_foreign else {}
        settings |= {"allow_extra_args": True} if row.takes_more else {}
        alone = typer.Typer(add_completion=False)
        cls = getattr(importlib.import_module(f"octapi.cli.{module}"), row.cls) if row.cls else Command
        alone.command(row.name, cls=cls, epilog=epilog, context_settings=settings, hidden=row.is_hidden)(found)
        return typer.main.get_command(alone)


def stubs(rows: Iterable[Row]) -> dict[str, LazyCommand]:
    """Return what stands for these commands."""
    return {row.name: LazyCommand(row) for row in rows}


class LazyGroup(Group):
    """A group whose commands are those of ``rows``, before those that were added in the usual way."""

    rows: ClassVar[tuple[Row, ...]] = ()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {**stubs(self.rows), **self.commands}


# ---- options as a dataclass


T = TypeVar("T")


def taking(options: type[T], run: Callable[[T], None]) -> Callable[..., None]:
    """Return a command for typer whose options are the fields of a dataclass; ``run`` gets one."""

    def command(**given: Any) -> None:
        run(options(**given))

    assert dataclasses.is_dataclass(options)
    hints = get_type_hints(options, include_extras=True)
    command.__doc__ = run.__doc__
    command.__annotations__ = {**hints, "return": None}
    rows = [
        inspect.Parameter(row.name, inspect.Parameter.KEYWORD_ONLY, default=row.default, annotation=hints[row.name])
        for row in dataclasses.fields(options)
    ]
    command.__signature__ = inspect.Signature(rows)  # type: ignore[attr-defined]  # where inspect looks for it
    return command
