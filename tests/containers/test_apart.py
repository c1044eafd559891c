"""Clusters and hosts that are apart: two clusters on one engine, and hosts that reach each other by published ports."""

from tests.containers.engine import Project, docker, inspect
from tests.harness import until

#: data that goes from one worker to the other without passing the master
MOVE = """
import octapi
with octapi.Cluster() as cluster:
    made = cluster.dask.submit(lambda: bytes(100_000), workers="far-1", pure=False)
    print("moved", cluster.dask.submit(len, made, workers="far-2").result())
"""


def test_two_clusters_on_one_engine_do_not_mix(image: str) -> None:
    """Even a worker of one that finds the other's master under the name of its own does not work for it."""
    one, two = (Project("compose.yaml", OCTAPI_CLUSTER=name, OCTAPI_SLOTS="1") for name in ("one", "two"))
    lost = f"{one.name}-worker-1"
    try:
        one.up(workers=1)
        two.up(workers=1)
        docker("network", "disconnect", f"{one.name}_default", lost)
        docker("network", "connect", f"{two.name}_default", lost)

        until(lambda: "another authority" in docker("logs", lost), 90)
        assert [row["name"] for row in two.nodes()] == [inspect(f"{two.name}-worker-1", "{{.Config.Hostname}}")]
        until(lambda: not one.nodes(), 60)

        docker("network", "disconnect", f"{two.name}_default", lost)
        docker("network", "connect", f"{one.name}_default", lost)
        until(lambda: [row["name"] for row in one.nodes()] == [inspect(lost, "{{.Config.Hostname}}")], 90)
    finally:
        docker("network", "disconnect", "-f", f"{two.name}_default", lost, code=None)
        one.down()
        two.down()


def gateway(project: Project) -> str:
    """Return the engine's host as the containers of a project see it."""
    return inspect(f"{project.name}_default", "{{(index .IPAM.Config 0).Gateway}}")


def test_hosts_work_together_through_published_ports_only(image: str) -> None:
    """No address of a bridge gets into a token or to a peer; results come back, SSH gets through, data moves too."""
    probe = Project("worker.yaml")  # its network shows which address the host has for everybody
    master = Project("compose.yaml", "published.yaml")
    far: list[Project] = []
    try:
        probe.compose("up", "-d", "--no-build", "--no-start")
        outside = gateway(probe)
        master.env["OCTAPI_ADVERTISE"] = outside
        master.compose("up", "-d", "--no-build", "master")
        until(lambda: "joins at" in master.compose("logs", "master"), 60)
        token = master.exec("master", "octapi", "token", "create", "--show").split()[-1]
        for number in (1, 2):
            ports = {"OCTAPI_PORT": str(8788 + number), "OCTAPI_SSH_PORT": str(8720 + number)}
            facts = {"OCTAPI_TOKEN": token, "OCTAPI_NAME": f"far-{number}", "OCTAPI_ADVERTISE": outside}
            far.append(Project("worker.yaml", OCTAPI_SLOTS="1", **ports, **facts))
            far[-1].compose("up", "-d", "--no-build")

        until(lambda: len(master.nodes()) == 2, 60)
        inner = inspect(f"{master.name}-master-1", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
        direct = "import socket, sys; socket.create_connection((sys.argv[1], 8786), 2)"
        assert "Error" in far[0].exec("worker", "python3", "-c", direct, inner, code=1), "nothing would be proved"
        assert {row["address"] for row in master.nodes()} == {outside}
        said = master.exec("master", "python3", "./compute.py")
        assert "far-1" in said
        assert "far-2" in said
        for number, project in enumerate(far, 1):
            name = inspect(f"{project.name}-worker-1", "{{.Config.Hostname}}")
            assert master.exec("master", "ssh", f"far-{number}", "hostname").strip() == name
        assert "moved 100000" in master.python(MOVE)
    finally:
        for project in (*far, master, probe):
            project.down()
