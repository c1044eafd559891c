"""What every command has in common: its help, and what is said to a word that is no command."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Final

from typer.core import TyperCommand, TyperGroup

from octapi.text.escape import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

#: the panels of ``octapi --help``, in their order
MOST, USE, RUNS, CLUSTER, CARE = "Most used", "Use the cluster", "Runs on the master", "The cluster", "Care"
PANELS: Final = (MOST, USE, RUNS, CLUSTER, CARE)
OPTIONS: Final = "Options"
#: words that people try, and the command that does it
MEANT: Final = {
    "agent": "worker", "cancel": "stop", "check": "doctor", "client": "login", "connect": "login", "dashboard": "page",
    "devices": "nodes", "exec": "nodes run", "history": "runs", "init": "master", "invite": "token create",
    "join": "worker", "kill": "stop", "list": "nodes", "log": "logs", "node": "worker", "ps": "jobs", "python": "run",
    "recover": "jobs recover", "remove": "nodes remove", "scheduler": "master", "server": "master", "status": "",
    "tail": "logs -f", "top": "nodes --watch", "ui": "page", "web": "page", "workers": "nodes",
}  # fmt: skip


class Command(TyperCommand):
    """One command, with its help as :func:`show_help` writes it."""

    def collect_usage_pieces(self, context: object) -> list[str]:
        """Return the parts of the usage line: arguments by their plain names."""
        return usage(self, context)

    def format_help(self, context: object, formatter: object) -> None:
        """Print the help."""
        show_help(self, context)


class Group(TyperGroup):
    """A command with further commands; a wrong one is answered with the right one."""

    command_class = Command

    def collect_usage_pieces(self, context: object) -> list[str]:
        """Return the parts of the usage line."""
        return [*usage(self, context), "COMMAND ..."]

    def format_help(self, context: object, formatter: object) -> None:
        """Print the help, the commands in panels."""
        show_help(self, context)

    def resolve_command(self, context: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command; fail with what was meant when there is none."""
        word = args[0]
        if self.get_command(context, word) is None and not word.startswith("-"):
            context.fail(meant(word, args[1:], context.command_path, list(self.commands)))
        name, command, rest = super().resolve_command(context, args)
        load = getattr(command, "load", None)  # one of a LazyGroup
        return name, command if load is None else load(), rest


def meant(word: str, rest: list[str], path: str, names: list[str]) -> str:
    """Say that a word is no command, and which one was probably meant.  A token is not repeated: it is a secret."""
    if word.startswith("octapi1."):
        return "That is a token. A device joins with 'octapi worker TOKEN', a person with 'octapi login TOKEN'."
    known = f"There is no command '{path} {visible(word)}'."
    if path.endswith("octapi"):
        if word == "octapi":
            return "Write 'octapi' once."
        if word.endswith((".py", ".pyz", ".zip")):
            return f"{known} To run a script: octapi run {visible(word)}"
        if word in MEANT:
            return f"{known} Did you mean '{f'{path} {MEANT[word]}'.rstrip()}'?"
    close = difflib.get_close_matches(word, names, 2, 0.6)
    if close:
        return f"{known} Did you mean {' or '.join(repr(f'{path} {name}') for name in close)}?"
    return f"{known} '{path} --help' lists those there are."


# ---- help


def usage(command: Any, context: Any) -> list[str]:
    """Return the parts of a usage line after the command's name."""
    params = command.get_params(context)
    more = ["[ARGS...]"] if context.allow_extra_args and not hasattr(command, "commands") else []
    return ["[OPTIONS]", *(argument(param) for param in params if param.param_type_name == "argument"), *more]


def argument(param: Any) -> str:
    """Return an argument as usage lines show it: in brackets if it can be left out, with dots if it may be repeated."""
    name = (param.metavar or param.name.upper()) + ("..." if param.nargs == -1 else "")
    return name if param.required else f"[{name}]"


def show_help(command: Any, context: Any) -> None:
    """Print the help of a command: usage, what it does, an example, and its arguments, options and commands."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    console.print(f"Usage: {context.command_path} {' '.join(command.collect_usage_pieces(context))}\n", soft_wrap=True)
    console.print(" ".join((command.help or "").replace("``", "'").split()) + "\n")
    if command.epilog:
        console.print(f"{command.epilog}\n", soft_wrap=True)
    for title, rows in panels(command, context):
        show_panel(console, title, rows)


def panels(command: Any, context: Any) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Return the panels of a command's help: a title, and rows of two cells."""
    params = [param for param in command.get_params(context) if not getattr(param, "hidden", False)]
    arguments = [(argument(p), getattr(p, "help", None) or "") for p in params if p.param_type_name == "argument"]
    if arguments:
        yield "Arguments", arguments
    inside = {name: found for name, found in getattr(command, "commands", {}).items() if not found.hidden}
    for title in dict.fromkeys([*PANELS, "Commands"]):
        rows = [(name, short(found)) for name, found in inside.items() if panel_of(found) == title]
        if rows:
            yield title, rows
    yield OPTIONS, [(names(param), explained(param)) for param in params if param.param_type_name == "option"]


def panel_of(command: object) -> str:
    """Return the panel that a command stands in."""
    found = getattr(command, "rich_help_panel", None)
    return found if isinstance(found, str) else "Commands"


def short(command: Any) -> str:
    """Return the first sentence of a command's help."""
    text = " ".join((command.help or "").replace("``", "'").split())
    return text.partition(". ")[0].removesuffix(".")


def names(param: Any) -> str:
    """Return an option's names, and what follows them."""
    found = ", ".join(sorted([*param.opts, *param.secondary_opts], key=len))
    return found if getattr(param, "is_flag", False) else f"{found} {param.metavar or ''}".rstrip()


def explained(param: Any) -> str:
    """Return an option's help, with its default if that says something, and its environment variable."""
    text = getattr(param, "help", None) or ""
    value = param.default
    notes = [f"default {value}"] if value and not callable(value) and isinstance(value, int | float | str) else []
    if value is True:
        notes = []
    if param.envvar:
        notes.append(f"or {param.envvar}")
    return f"{text} ({', '.join(notes)})" if notes else text


def show_panel(console: Console, title: str, rows: list[tuple[str, str]]) -> None:
    """Print one panel."""
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=max(len(first) for first, _ in rows) <= console.width // 2, style="bold cyan")
    table.add_column(ratio=1)
    for first, second in rows:
        table.add_row(Text(first), Text(second))
    console.print(Panel(table, title=Text(title), title_align="left", border_style="dim"))
