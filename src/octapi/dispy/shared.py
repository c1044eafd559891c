"""SharedJobCluster: dispy's way to share nodes between scripts, which OctaPi does anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from octapi.dispy.cluster import JobCluster
from octapi.dispy.logger import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from octapi.dispy.argument_types import (
        ClusterStatusChange,
        Depend,
        FilePath,
        JobStatus,
        NodeEntries,
        OldArguments,
        Work,
    )


class SharedJobCluster(JobCluster):
    """A JobCluster whose scheduler is the master: ``scheduler_host`` and the ports are not needed.

    ``exclusive`` is not granted: a master shares its workers fairly between all scripts.
    """

    def __init__(
        self,
        computation: Work,
        nodes: NodeEntries | None = None,
        depends: Iterable[Depend] | None = (),
        job_status: JobStatus | None = None,
        cluster_status: ClusterStatusChange | None = None,
        host: object = None,
        dispy_port: int | str | None = None,
        client_port: object = None,
        scheduler_host: object = None,
        ext_host: object = None,
        ip_addr: object = None,
        ext_ip_addr: object = None,
        loglevel: int = 20,
        callback: JobStatus | None = None,
        setup: Callable[..., object] | None = None,
        cleanup: Callable[..., object] | bool | None = True,
        dest_path: str | None = None,
        poll_interval: float | None = None,
        reentrant: bool = False,
        exclusive: bool = False,
        secret: str = "",
        keyfile: object = None,
        certfile: object = None,
        recover_file: FilePath | None = None,
        **old: Unpack[OldArguments],
    ) -> None:
        if exclusive:
            logger.warning("exclusive=True is not granted: the master shares its workers fairly")
        old.pop("port", None)
        super().__init__(
            computation,
            nodes,
            depends,
            job_status,
            cluster_status,
            host,
            dispy_port,
            ext_host,
            ip_addr,
            ext_ip_addr,
            dest_path=dest_path,
            loglevel=loglevel,
            callback=callback,
            setup=setup,
            cleanup=cleanup,
            poll_interval=poll_interval,
            reentrant=reentrant,
            secret=secret,
            keyfile=keyfile,
            certfile=certfile,
            recover_file=recover_file,
            **old,
        )
