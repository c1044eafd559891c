"""Calls with a mistake each: mypy and pyright must say so on the line, with the name behind the mark; never run.

``error: MYPY / PYRIGHT`` names an error of mypy on that line, and one of pyright.
"""

import octapi
import octapi.dispy as dispy
from octapi import Cluster, Job


def area(width: float, height: float = 1.0) -> float:
    return width * height


def word(text: str) -> str:
    return text


async def fetched(address: str) -> bytes:
    return address.encode()


cluster = Cluster("local")

# submit
cluster.submit(area)  # error: call-overload / reportCallIssue
cluster.submit(area, "wide")  # error: call-overload / reportArgumentType
cluster.submit(area, 1.0, depth=2.0)  # error: call-arg / reportCallIssue
cluster.submit(area, 1.0, 2.0, 3.0)  # error: call-overload / reportCallIssue
cluster.submit(4)  # error: call-overload / reportArgumentType
text: str = cluster.submit(area, 1.0).result()  # error: assignment / reportAssignmentType
job: Job[str] = cluster.submit(area, 1.0)  # error: call-overload / reportAssignmentType
length: int = cluster.submit(fetched, "x").result()  # error: assignment / reportAssignmentType
cluster.submit(area, 1.0).result("5 s")  # error: arg-type / reportArgumentType
cluster.submit(area, 1.0).output  # error: attr-defined / reportAttributeAccessIssue

# map
cluster.map(word, [1, 2])  # error: arg-type / reportArgumentType
cluster.map(area, 5)  # error: call-overload / reportArgumentType
cluster.map(word, ["a"], ["b"])  # error: arg-type / reportArgumentType
cluster.map(word, ["a"], order=True)  # error: call-overload / reportCallIssue
cluster.map(word, ["a"], timeout="1 s")  # error: call-overload / reportArgumentType
number: int = next(cluster.map(word, ["a"]))  # error: assignment / reportAssignmentType

# options
cluster.options(timeout=5)  # error: call-arg / reportCallIssue
cluster.options(retries="two")  # error: arg-type / reportArgumentType
cluster.options(files=5)  # error: arg-type / reportArgumentType
cluster.options(worker=["pi-1"])  # error: arg-type / reportArgumentType
cluster.options(retries=1).submit(word, 1)  # error: call-overload / reportArgumentType
cluster.options(retries=1).map(word, [1])  # error: arg-type / reportArgumentType

# the rest
Cluster(address="local", workers=4)  # error: call-arg / reportCallIssue
Cluster(slots="4")  # error: arg-type / reportArgumentType
octapi.Clutser()  # error: attr-defined / reportAttributeAccessIssue
cluster.workers()[0].cores  # error: attr-defined / reportAttributeAccessIssue

# dispy's names
dispy.JobCluster(area, job_status=3)  # error: arg-type / reportArgumentType
dispy.JobCluster(area, nodes=7)  # error: arg-type / reportArgumentType
dispy.JobCluster(area, reentrant=True, pulse_intervall=2)  # error: call-arg / reportCallIssue
dispy.JobCluster(7)  # error: arg-type / reportArgumentType
dispy.JobCluster(area).submit_node("pi-1", 1.0).id  # error: union-attr / reportOptionalMemberAccess
dispy.NodeAllocate("pi-1", cpus=[2])  # error: arg-type / reportArgumentType
