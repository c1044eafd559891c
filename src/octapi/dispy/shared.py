"""SharedJobCluster: dispy's way to share nodes between scripts, which OctaPi does anyway."""

from __future__ import annotations

from typing import Any

from octapi.dispy.cluster import JobCluster
from octapi.dispy.logger import logger


class SharedJobCluster(JobCluster):
    """A JobCluster whose scheduler is the master: ``scheduler_host`` and the ports are not needed.

    ``exclusive`` is not granted: a master shares its workers fairly between all scripts.
    """

    def __init__(
        self,
        computation: Any,
        nodes: Any = None,
        depends: Any = (),
        job_status: Any = None,
        cluster_status: Any = None,
        host: Any = None,
        dispy_port: Any = None,
        client_port: Any = None,
        scheduler_host: Any = None,
        ext_host: Any = None,
        ip_addr: Any = None,
        ext_ip_addr: Any = None,
        loglevel: int = 20,
        callback: Any = None,
        setup: Any = None,
        cleanup: Any = True,
        dest_path: str | None = None,
        poll_interval: Any = None,
        reentrant: Any = False,
        exclusive: bool = False,
        secret: str = "",
        keyfile: Any = None,
        certfile: Any = None,
        recover_file: Any = None,
        **old: Any,
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
