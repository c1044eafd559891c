"""What ``octapi master`` and ``octapi worker`` have in common: ``--insecure``, some options, and what they tell."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from octapi.errors import IdentityProblem, InsecureRefused
from octapi.settings import default_home
from octapi.telemetry import logs

MASTER = logging.getLogger("octapi.master")
WARNING = "--insecure: no encryption and no login. Anyone who reaches this port can run code here."
Insecure = Annotated[bool, typer.Option("--insecure", help="No encryption, no login (experiments, trusted networks).")]
MetricsDoor = Annotated[
    str,
    typer.Option(
        "--metrics", metavar="HOST:PORT", envvar="OCTAPI_METRICS", help="HOST:PORT where Prometheus may read metrics."
    ),
]


def warn_insecure(identity: str) -> None:
    """Say loudly what ``--insecure`` means; a device that is a member of a secured cluster refuses it.

    Raises :exc:`IdentityProblem` when the file ``identity`` exists.
    """
    if (default_home() / identity).exists():
        raise IdentityProblem(
            f"This device has an identity of a secured cluster ({default_home() / identity}), which --insecure would "
            "leave aside. Start without --insecure, or use another OCTAPI_HOME."
        )
    logging.getLogger(logs.COMMAND).warning(WARNING)


def refuse_metrics(metrics: str) -> None:
    """Raise :exc:`InsecureRefused` if metrics are wanted where there are no certificates to serve them with."""
    if metrics:
        raise InsecureRefused(
            "Metrics are served with the cluster's certificates, and --insecure has none. Leave --metrics (or "
            "OCTAPI_METRICS) or --insecure out."
        )


def tell(text: str, log: logging.Logger = MASTER) -> None:
    """Tell the person who started a service how it stands."""
    log.info(text, extra=logs.ON_STDOUT)
