"""``octapi doctor``: what this device looked for, what answered, and what to do."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import Annotated

import typer

from octapi._version import __version__
from octapi.cli import secret
from octapi.cli.diagnosis import Diagnosis
from octapi.settings import default_home
from octapi.text.escape import visible

MARKS = {"ok": "ok  ", "note": "note", "fail": "FAIL"}


def doctor(
    token: Annotated[
        str, typer.Argument(metavar="TOKEN", help="A token to check, without using it; '-' for stdin.")
    ] = "",
    token_file: Annotated[Path | None, typer.Option(metavar="FILE", help="File that holds the token.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look step by step why this device does, or does not, reach its cluster."""
    text = secret.take(token, token_file, ask=False)
    found = Diagnosis(default_home(), text)
    found.add("ok", "release", f"OctaPi {__version__}, Python {platform.python_version()} on {platform.platform()}")
    steps = found.run()
    if as_json:
        print(json.dumps([step._asdict() for step in steps]))
    else:
        for step in steps:
            print(f"{MARKS[step.result]}  {step.what}: {visible(step.text)}")
            if step.advice:
                print(f"      {step.advice}")
    if any(step.result == "fail" for step in steps):
        sys.exit(1)
