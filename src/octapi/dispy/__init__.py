"""The dispy API on OctaPi: what existing scripts import."""

from octapi.dispy import config
from octapi.dispy.allocate import NodeAllocate
from octapi.dispy.cluster import JobCluster, SharedJobCluster
from octapi.dispy.config import MsgTimeout
from octapi.dispy.job import DispyJob
from octapi.dispy.logger import logger
from octapi.dispy.node import ClusterStatus, DispyNode, DispyNodeAvailInfo

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
    "config",
    "logger",
]
