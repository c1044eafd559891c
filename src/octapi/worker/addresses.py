"""Where a worker listens, and where others find it."""

from __future__ import annotations

from typing import Final, NamedTuple

#: where a worker listens that must be found under another address
PORT: Final = 8789


class Addresses(NamedTuple):
    """Where a worker listens for other workers and the scheduler, and where they find it.

    ``advertise`` is an address of another device that passes connections on to the same port, as the host of a
    container does that publishes it.  The port is used by Dask's tasks: nobody needs to reach the agent.
    """

    host: str | None = None
    port: int = 0
    advertise: str = ""

    @property
    def port_to_listen(self) -> int:
        """Return the port; one that others must know cannot be left to the system."""
        return self.port or (PORT if self.advertise else 0)

    def contact(self, protocol: str) -> str | None:
        """Return the address that others are told; None for the one that it listens at."""
        return f"{protocol}://{self.advertise}:{self.port_to_listen}" if self.advertise else None
