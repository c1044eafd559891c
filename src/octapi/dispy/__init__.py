"""The dispy API on OctaPi: what existing scripts import."""

from octapi.dispy import config
from octapi.dispy.allocate import NodeAllocate
from octapi.dispy.cluster import JobCluster
from octapi.dispy.config import MsgTimeout
from octapi.dispy.job import DispyJob
from octapi.dispy.logger import logger
from octapi.dispy.net import auth_code, host_addrinfo, num_max, num_min
from octapi.dispy.node import ClusterStatus, DispyNode, DispyNodeAvailInfo
from octapi.dispy.recover import recover_jobs
from octapi.dispy.shared import SharedJobCluster

__version__ = "4.15.2"

__all__ = [
    "ClusterStatus",
    "DispyJob",
    "DispyNode",
    "DispyNodeAvailInfo",
    "JobCluster",
    "MsgTimeout",
    "NodeAllocate",
    "SharedJobCluster",
    "auth_code",
    "config",
    "host_addrinfo",
    "logger",
    "num_max",
    "num_min",
    "recover_jobs",
]
