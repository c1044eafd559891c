"""Which of Dask's operations each role may call.

Dask itself lets every holder of a certificate do everything.  These lists say what the parts of a cluster need of each
other; all else is refused.  ``rpc`` are single requests, ``stream`` are messages on a connection that stays.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from octapi.errors import RoleRefused
from octapi.trust.names import CLIENT, MASTER, WORKER, Peer

SCHEDULER_SIDE: Final = "scheduler"
WORKER_SIDE: Final = "worker"
#: what a refused request is turned into, so that the caller reads why
REFUSED_OP: Final = "octapi-refused"
#: our own messages on Dask's connection between master and worker
STREAM_OP: Final = "octapi"


def words(text: str) -> frozenset[str]:
    """Split a list of operations."""
    return frozenset(text.split())


class Allowed(NamedTuple):
    """What one role may call."""

    rpc: frozenset[str]
    stream: frozenset[str]


#: primitives of Dask that tasks use among each other; they hold no code and no data
SHARED: Final = words(
    "event_clear event_is_set event_set event_wait multi_lock_acquire multi_lock_release "
    "semaphore_acquire semaphore_close semaphore_refresh_leases semaphore_register semaphore_release semaphore_value"
)
WORKER_AT_SCHEDULER: Final = Allowed(
    SHARED
    | words(
        "register-worker heartbeat_worker unregister who_has "
        "shuffle_barrier shuffle_get shuffle_get_or_create shuffle_restrict_task"
    ),
    words(
        "task-finished task-erred release-worker-data add-keys long-running reschedule keep-alive log-event "
        f"worker-status-change request-refresh-who-has steal-response close-stream {STREAM_OP}"
    ),
)
CLIENT_AT_SCHEDULER: Final = Allowed(
    SHARED
    | words(
        "register-client scatter gather retry broadcast proxy ncores ncores_running has_what who_has processing "
        "call_stack profile performance_report get_logs logs worker_logs log_event events nbytes versions rebalance "
        "replicate update_data get_metadata set_metadata set_restrictions get_task_status get_task_stream "
        "get_task_stream_index get_task_prefix_states register_worker_plugin unregister_worker_plugin "
        "subscribe_worker_status start_task_metadata stop_task_metadata get_cluster_state benchmark_hardware get_story "
        "publish_delete publish_get publish_list publish_put queue_create queue_get queue_put queue_qsize "
        "variable_get variable_set memory_sampler_start memory_sampler_stop get_runspec get_error_cause identity echo "
        "restart feed"
    ),
    words(
        "update-graph client-desires-keys update-data report-key client-releases-keys heartbeat-client close-client "
        "subscribe-topic unsubscribe-topic cancel-keys queue_release queue-future-release "
        "variable-future-received-confirm variable_delete publish_flush_batched_send log-event keep-alive close-stream"
    ),
)
WORKER_AT_WORKER: Final = Allowed(words("get_data shuffle_receive actor_execute actor_attribute"), frozenset())
#: what clients inside tasks call besides, see :mod:`octapi.trust.nested`
NESTED: Final = Allowed(
    words(
        "register-client identity gather scatter replicate retry ncores has_what nbytes update_data get_metadata "
        "set_metadata get_task_status publish_delete publish_get publish_list publish_put queue_create queue_get "
        "queue_put queue_qsize variable_get variable_set"
    ),
    words(
        "update-graph client-desires-keys update-data report-key client-releases-keys heartbeat-client close-client "
        "subscribe-topic unsubscribe-topic cancel-keys queue_release queue-future-release "
        "variable-future-received-confirm variable_delete publish_flush_batched_send"
    ),
)
#: what a client may let the scheduler ask of workers with ``broadcast`` and ``proxy``
THROUGH_SCHEDULER: Final = words(
    "run run_coroutine versions identity actor_execute actor_attribute profile profile_metadata get_logs call_stack "
    "upload_file get_monitor_info echo keys ping free_keys update_data gather get_data "
    "benchmark_disk benchmark_memory benchmark_network plugin-add plugin-remove"
)
NOTHING: Final = Allowed(frozenset(), frozenset())

TABLE: Final = {
    (SCHEDULER_SIDE, WORKER): WORKER_AT_SCHEDULER,
    (SCHEDULER_SIDE, CLIENT): CLIENT_AT_SCHEDULER,
    (WORKER_SIDE, WORKER): WORKER_AT_WORKER,
}
#: which roles may open a connection at all
ROLES: Final = {SCHEDULER_SIDE: (WORKER, CLIENT), WORKER_SIDE: (WORKER, MASTER)}


def check(side: str, peer: Peer, message: dict[str, Any], *, is_stream: bool) -> None:
    """Raise :exc:`RoleRefused` unless ``peer`` may send ``message`` to this ``side``."""
    if peer.role == MASTER and side == WORKER_SIDE:
        return
    allowed = TABLE.get((side, peer.role), NOTHING)
    operation = message.get("op")
    # 'close' ends a request's connection, and is Dask's own word for that on both sides
    if operation == "close" and not is_stream:
        return
    if operation not in (allowed.stream if is_stream else allowed.rpc):
        raise RoleRefused(f"A {peer.role} may not call {operation!r} on a {side}.")
    if operation in ("broadcast", "proxy"):
        inner = message.get("msg")
        asked = inner.get("op") if isinstance(inner, dict) else None
        if asked not in THROUGH_SCHEDULER:
            raise RoleRefused(f"A {peer.role} may not have {asked!r} called on workers.")


def check_metrics(metrics: Any) -> None:
    """Raise :exc:`RoleRefused` unless a worker's numbers are what Dask's scheduler reads of them.

    It keeps them, and its own bookkeeping stops for good at the first that is missing.
    """
    try:
        spilled, bandwidth = metrics["spilled_bytes"], metrics["bandwidth"]
        numbers = [metrics["memory"], spilled["memory"], spilled["disk"], bandwidth["total"]]
        numbers += metrics["digests_total_since_heartbeat"].values()
        for pair in (*bandwidth["workers"].values(), *bandwidth["types"].values()):
            numbers += pair if len(pair) == 2 else [None]
    except (KeyError, TypeError, AttributeError) as error:
        raise RoleRefused(f"A worker's metrics are not as Dask's are: {error!r}.") from error
    if not all(isinstance(number, (int, float)) for number in numbers):
        raise RoleRefused("A worker's metrics are not numbers.")


class Bearers:
    """Which worker registered which address, so that nobody speaks for another."""

    def __init__(self) -> None:
        self.by_address: dict[str, Peer] = {}

    def check(self, peer: Peer, message: dict[str, Any]) -> None:
        """Raise :exc:`RoleRefused` when a worker gives a name or an address that is not its own."""
        operation = message.get("op")
        if operation == "register-worker":
            address, name = message.get("address"), message.get("name")
            bearer = self.by_address.get(str(address))
            if name != peer.name:
                raise RoleRefused(f"{peer} may not register as {name!r}.")
            if bearer is not None and bearer.ident != peer.ident:
                raise RoleRefused(f"{peer} may not register at the address of {bearer}.")
            check_metrics(message.get("metrics"))
            self.by_address[str(address)] = peer
        elif operation in ("heartbeat_worker", "unregister"):
            address = str(message.get("address"))
            bearer = self.by_address.get(address)
            if bearer is None or bearer.ident != peer.ident:
                raise RoleRefused(f"{peer} may not speak for {bearer or address}.")
            if operation == "heartbeat_worker":
                check_metrics(message.get("metrics"))

    def addresses(self, idents: set[str]) -> list[str]:
        """Return the addresses of these members."""
        return [address for address, peer in self.by_address.items() if peer.ident in idents]

    def forget(self, address: str) -> None:
        """Free an address whose worker has left."""
        self.by_address.pop(address, None)
