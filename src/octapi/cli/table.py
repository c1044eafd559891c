"""All commands of ``octapi``: the table from which help is written, before anything of them is imported."""

from __future__ import annotations

from octapi.cli.commands import CARE, CLUSTER, MOST, RUNS, USE
from octapi.cli.lazy import LazyGroup, Row

NODES = (
    Row("remove", "nodes:remove", "Remove a device: at once, and for good", "octapi nodes remove pi-3"),
    Row(
        "drain",
        "drain:drain",
        "Give a worker no new jobs; those that run go on to their end",
        "octapi nodes drain pi-3 --wait",
    ),
    Row("resume", "drain:resume", "Let a worker that was drained take jobs again", "octapi nodes resume pi-3"),
    Row(
        "run",
        "fleet:run",
        "Run a command on workers, and print what each says",
        "octapi nodes run --on pi-1,pi-2 -- df -h",
        is_foreign=True,
    ),
    Row("copy", "fleet:copy", "Copy a file to workers", "octapi nodes copy data.csv /tmp/"),
    Row("reboot", "fleet:reboot", "Reboot workers", "octapi nodes reboot --on pi-3"),
    Row("shutdown", "fleet:shutdown", "Shut workers down", "octapi nodes shutdown"),
)
JOBS = (
    Row(
        "recover",
        "recover:recover",
        "Fetch the results of a script that was killed; what was fetched is not kept any longer",
        "octapi jobs recover k3x9 --file results.pickle",
    ),
)
TOKEN = (
    Row(
        "create",
        "trust:create",
        "Make a token, and print the one line for the device",
        "octapi token create --life 1h --once",
    ),
    Row("list", "trust:list_tokens", "List the tokens, without their secrets", "octapi token list"),
    Row("revoke", "trust:revoke", "Revoke a token; devices that joined with it stay in", "octapi token revoke abc234"),
    Row(
        "metrics",
        "trust:metrics",
        "Write the token with which Prometheus reads metrics, and can do nothing else",
        "octapi token metrics --file /etc/prometheus/octapi.token",
    ),
)
IDENTITY = (
    Row(
        "backup",
        "trust:backup",
        "Write the cluster's identity to a file",
        "octapi identity backup /media/stick/octapi.backup",
    ),
    Row(
        "restore",
        "trust:restore",
        "Make this device the master of a cluster from a backup; its workers find it",
        "octapi identity restore /media/stick/octapi.backup",
    ),
    Row("rotate", "trust:rotate", "Sign with a new key from now on, while the cluster works", "octapi identity rotate"),
)
WHEELS = (
    Row(
        "pack",
        "wheels:pack",
        "Make the wheels of what is installed here: for devices with this machine and this Python",
        "octapi wheels pack",
    ),
    Row(
        "fetch",
        "wheels:fetch",
        "Fetch what devices of other kinds need, by pip; Debian 12 and 13 on aarch64 and x86_64 if nothing is said",
        "octapi wheels fetch --machine aarch64 --python 3.13",
    ),
    Row("list", "wheels:show", "List the wheels that devices get", "octapi wheels list"),
)
ALL = (
    Row(
        "demo",
        "demo:demo",
        "Start a real master and workers on loopback, run a script on them, and print who did what",
        "octapi demo",
        MOST,
    ),
    Row(
        "run",
        "scripts:run",
        "Run an unchanged script: it finds the cluster, and 'import dispy' works",
        "octapi run compute.py 100",
        MOST,
        cls="RunCommand",
        is_foreign=True,
    ),
    Row("master", "master:command", "Run the master of a cluster", "octapi master --name attic", MOST),
    Row(
        "worker",
        "worker:command",
        "Run a worker: this device's cores join the cluster",
        "octapi worker octapi1.AbC...",
        MOST,
    ),
    Row(
        "nodes",
        "nodes:nodes_app",
        "Show who is in the cluster, or remove a device",
        "octapi nodes --watch",
        MOST,
        rows=NODES,
    ),
    Row(
        "jobs",
        "jobs:jobs_app",
        "List the scripts that use the cluster, or fetch what became of jobs",
        "octapi jobs --stop 3",
        MOST,
        rows=JOBS,
    ),
    Row(
        "login",
        "trust:login",
        "Let scripts on this computer use the cluster of a token",
        "octapi login octapi1.AbC...",
        USE,
    ),
    Row("page", "page:page", "Print a link to this master's page", "octapi page --view --life 7d", USE),
    Row(
        "bench",
        "bench:bench",
        "Measure the cluster, or this computer's cores: about ten seconds",
        "octapi bench --address local",
        USE,
    ),
    Row(
        "submit",
        "runs:submit",
        "Leave a script to the master and return at once: it runs there, also when this computer is off",
        "octapi submit --file data.csv compute.py 100",
        RUNS,
        is_foreign=True,
        takes_more=True,
    ),
    Row(
        "runs",
        "runs:runs",
        "List the latest runs: what ran, who started it, and what became of it",
        "octapi runs -n 5",
        RUNS,
    ),
    Row(
        "logs",
        "runs:logs",
        "Print what a submitted script has said; with -f its exit code is this command's",
        "octapi logs -f k3x9",
        RUNS,
    ),
    Row(
        "stop",
        "runs:stop",
        "End a run: a submitted script is ended, of any other the jobs are stopped",
        "octapi stop k3x9",
        RUNS,
    ),
    Row(
        "token",
        "trust:token_app",
        "Make, list and revoke the tokens with which devices join",
        "octapi token create --role client --once",
        CLUSTER,
        rows=TOKEN,
    ),
    Row(
        "identity",
        "trust:identity_app",
        "Back up, restore or replace the cluster's identity",
        "octapi identity backup /media/stick/octapi.backup",
        CLUSTER,
        rows=IDENTITY,
    ),
    Row(
        "wheels",
        "wheels:app",
        "Make, fetch and list the wheels that devices get from this master",
        "octapi wheels fetch --machine armv7l",
        CLUSTER,
        rows=WHEELS,
    ),
    Row(
        "ssh",
        "trust:ssh",
        "Log into a worker, or run a command there",
        "octapi ssh pi-1 uptime",
        CLUSTER,
        is_foreign=True,
    ),
    Row(
        "doctor",
        "doctor:doctor",
        "Look step by step why this device does, or does not, reach its cluster",
        "octapi doctor",
        CARE,
    ),
    Row(
        "start", "container:start", "Run as the environment says: master, worker or agent", "octapi start worker", CARE
    ),
    Row(
        "health",
        "container:health",
        "Say whether the master or worker of this container is alive; the exit code is 1 when it is stuck",
        "octapi health",
        CARE,
    ),
    Row("device", "fleet:device", "Reboot or shut down this device", "octapi device reboot", is_hidden=True),
)


class Octapi(LazyGroup):
    """The command ``octapi``."""

    rows = ALL
