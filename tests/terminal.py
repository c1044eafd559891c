"""A terminal that programs run on, which remembers what a person would have seen."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from typing import Any

#: what moves the cursor or clears: the foot of the screen, and the ends of lines
SEQUENCE = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])|\x1b([78D])|([\r\n])|([^\x1b\r\n]+)")


class Screen:
    """Lines and columns, with a part that scrolls and what has scrolled away from its top."""

    def __init__(self, lines: int, columns: int) -> None:
        self.lines = lines
        self.rows = [[" "] * columns for _ in range(lines)]
        self.past: list[str] = []
        self.line = self.column = 0
        self.saved = (0, 0)
        self.bottom = lines - 1

    def text(self) -> list[str]:
        """Return all lines, with those that have scrolled away, without blank ends."""
        return [*self.past, *("".join(row).rstrip() for row in self.rows)]

    def feed(self, text: str) -> None:
        """Take what a program wrote."""
        for numbers, act, short, end, plain in SEQUENCE.findall(text):
            if act:
                self.control([int(number) for number in numbers.split(";") if number], act)
            elif short:
                self.short(short)
            elif end:
                self.line_end(end)
            else:
                self.write(plain)

    def write(self, text: str) -> None:
        """Put letters where the cursor is."""
        for letter in text:
            if self.column < len(self.rows[0]):
                self.rows[self.line][self.column] = letter
                self.column += 1

    def line_end(self, letter: str) -> None:
        """Move the cursor as a line end does."""
        self.column = 0 if letter == "\r" else self.column
        if letter == "\n":
            self.down()

    def down(self) -> None:
        """Move down, and scroll if that is where the scrolling part ends."""
        if self.line == self.bottom:
            self.past.append("".join(self.rows.pop(0)).rstrip())
            self.rows.insert(self.bottom, [" "] * len(self.rows[0]))
        else:
            self.line = min(self.line + 1, self.lines - 1)

    def short(self, letter: str) -> None:
        """Save or restore the cursor, or move it down."""
        if letter == "7":
            self.saved = (self.line, self.column)
        elif letter == "8":
            self.line, self.column = self.saved
        else:
            self.down()

    def control(self, numbers: list[int], act: str) -> None:
        """Do one control sequence."""
        if act == "A":
            self.line = max(0, self.line - (numbers or [1])[0])
        elif act == "H":
            self.line, self.column = numbers[0] - 1, numbers[1] - 1
        elif act == "r":
            self.bottom = (numbers[1] if numbers else self.lines) - 1
            self.line = self.column = 0
        elif act == "K":
            start = self.column if numbers != [2] else 0
            self.rows[self.line][start:] = [" "] * (len(self.rows[0]) - start)
        elif act != "m":  # colours
            raise AssertionError(f"nobody knows the sequence {act!r} here")


class Seen:
    """What came of a program on a terminal: all that it showed at any time, and what was left at its end."""

    def __init__(self, command: list[str], lines: int = 12, columns: int = 80, **streams: Any) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        given = {name: theirs if stream == "pty" else stream for name, stream in streams.items()}
        env = {**os.environ, "TERM": "xterm"}
        env.update(given.pop("env", {}))
        self.screen = Screen(lines, columns)
        self.shown: list[list[str]] = []
        self.raw = ""
        with subprocess.Popen(command, env=env, **given) as process:
            os.close(theirs)
            self._read(ours)
            self.code = process.wait(60)
        self.lines = [line for line in self.screen.text() if line]

    def _read(self, ours: int) -> None:
        data = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the program's side is closed
                break
            if not part:
                break
            data += part
            text = data.decode("utf-8", "ignore")
            if data[-1:] != b"\x1b" and len(text.encode()) == len(data):
                self._take(text)
                data = b""
        os.close(ours)

    def _take(self, text: str) -> None:
        self.raw += text
        self.screen.feed(text)
        self.shown.append(["".join(row).rstrip() for row in self.screen.rows])

    def foot(self) -> list[str]:
        """Return what was shown on the last line at different times."""
        return [rows[-1] for rows in self.shown]
