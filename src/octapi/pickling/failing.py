"""At which argument of a call unpickling stopped, found out from the pickle alone."""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any


class Slot:
    """A place on the stack of a pickle: the operations that fill it, the value of a plain one, what a tuple holds."""

    __slots__ = ("begin", "end", "parts", "value")

    def __init__(self, begin: int, end: int, value: object = None) -> None:
        self.begin = begin
        self.end = end
        self.value = value
        self.parts: list[Slot] = []


#: stands on the stack where a list of things begins
MARK = Slot(-1, -1)


def note(error: Exception, data: bytes) -> None:
    """Add to an error of unpickling a call which argument it was, where that can be told."""
    try:
        found = argument(data)
    except Exception:  # a damaged pickle: the error says so itself
        found = None
    if found is not None:
        error.add_note(f"(octapi: this happened while {found} of the call was loaded)")


def argument(data: bytes) -> str | None:
    """Return the name of the argument at which loading a call stops."""
    stopped = operations_done(data)
    call = top(data).parts
    if len(call) not in (2, 3):
        return None
    names = [(f"argument {place}", slot) for place, slot in enumerate(call[-2].parts, 1)]
    keyed = call[-1].parts
    names += [(f"argument {key.value}=", slot) for key, slot in zip(keyed[::2], keyed[1::2], strict=False)]
    if len(call) == 3:
        names.append(("the function", call[0]))
    return next((name for name, slot in names if slot.begin <= stopped <= slot.end), None)


def operations_done(data: bytes) -> int:
    """Return the place of the operation at which loading stops."""
    done = -1

    def counted(step: Any) -> Any:
        def take(unpickler: Any) -> None:
            nonlocal done
            done += 1
            step(unpickler)

        return take

    class Counting(pickle._Unpickler):
        dispatch = {key: counted(step) for key, step in pickle._Unpickler.dispatch.items()}

    try:
        Counting(io.BytesIO(data)).load()
    except Exception:  # the same as before; what is wanted is how far it got
        return done
    return -1


def top(data: bytes) -> Slot:
    """Follow a pickle's operations without executing any, and return what is on top of its stack at the end."""
    stack: list[Slot] = []
    for place, (code, value, _) in enumerate(pickletools.genops(data)):
        if code.name == "STOP":
            break
        taken = take(stack, code)
        stack += pushed(code, taken, place, value)
    return stack[-1]


def take(stack: list[Slot], code: pickletools.OpcodeInfo) -> list[Slot]:
    """Take what an operation takes off the stack."""
    before = list(code.stack_before)
    taken: list[Slot] = []
    if pickletools.markobject in before or (code.name == "POP" and stack[-1] is MARK):
        mark = len(stack) - 1 - stack[::-1].index(MARK)
        taken = stack[mark + 1 :]
        del stack[mark:]
        before = before[: before.index(pickletools.markobject)] if pickletools.markobject in before else []
    if before:
        taken = [*stack[-len(before) :], *taken]
        del stack[-len(before) :]
    return taken


def pushed(code: pickletools.OpcodeInfo, taken: list[Slot], place: int, value: object) -> list[Slot]:
    """Return what an operation puts on the stack."""
    if code.name in ("MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT"):
        return taken
    if code.name in ("SETITEM", "SETITEMS"):
        taken[0].parts += taken[1:]
        taken[0].end = place
        return taken[:1]
    found = Slot(min((slot.begin for slot in taken), default=place), place, value)
    if code.name.startswith("TUPLE"):
        found.parts = taken
    return [MARK if one is pickletools.markobject else found for one in code.stack_after]
