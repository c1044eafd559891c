"""What keeps an error in one handler from the thread that all handlers share."""

from __future__ import annotations

import functools
import traceback
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar, cast

from octapi.dispy.logger import logger

if TYPE_CHECKING:
    from collections.abc import Callable

Self = TypeVar("Self")
P = ParamSpec("P")


def guarded(handler: Callable[Concatenate[Self, P], None]) -> Callable[Concatenate[Self, P], None]:
    """Let what a method raises be a warning; it runs on the dispatcher's thread, on which all jobs depend.

    Scripts' code is among it: classes that are unpickled, and ``allocate`` methods.
    """

    @functools.wraps(handler)
    def safe(self: Self, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            handler(self, *args, **kwargs)
        except BaseException:
            logger.warning("%s failed: %s", handler.__qualname__, traceback.format_exc())

    return cast("Callable[Concatenate[Self, P], None]", safe)
