"""Which of Dask's operations each role may call, and why.

Dask itself lets every holder of a certificate do everything.  These lists say what the parts of a cluster need of each
other; all else is refused.  ``rpc`` are single requests, ``stream`` are messages on a connection that stays.  Who
speaks is the connection, never the message: :mod:`octapi.trust.address_owners` sees to that.
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
#: requests that turn their connection into a stream
OPENS_STREAM: Final = frozenset({"register-worker", "register-client"})


def words(text: str) -> frozenset[str]:
    """Split a list of operations."""
    return frozenset(text.split())


class Allowed(NamedTuple):
    """What one role may call."""

    rpc: frozenset[str]
    stream: frozenset[str]


#: why a worker may send each single request to the scheduler
WORKER_REQUESTS: Final[dict[str, str]] = {
    "register-worker": "It joins: its name is its certificate's, its address nobody else's, its numbers are checked.",
    "heartbeat_worker": "It lives: for its own address only, with numbers that are checked.",
    "unregister": "It leaves: its own address only.",
    "who_has": "Where the data lie that one of its Dask tasks needs; names of keys and addresses, no data.",
    "shuffle_barrier": "Its part of a Dask shuffle is done; numbers only, for a shuffle that runs.",
    "shuffle_get": "What a shuffle that it takes part in looks like: for its own address only.",
    "shuffle_get_or_create": "The same where its task is the first; the plan comes from the client's own task.",
    "shuffle_restrict_task": "Where a task of a running shuffle goes; it moves a task that has no result yet.",
    "event_clear": "A flag with a name that Dask tasks share; it holds no data, and OctaPi's jobs have none.",
    "event_is_set": "As event_clear.",
    "event_set": "As event_clear.",
    "event_wait": "As event_clear.",
    "multi_lock_acquire": "Locks with names that Dask tasks share; a worker that holds one for ever harms those tasks.",
    "multi_lock_release": "As multi_lock_acquire.",
    "semaphore_acquire": "Leases with names that Dask tasks share; as multi_lock_acquire.",
    "semaphore_refresh_leases": "As semaphore_acquire: only leases whose random name it knows.",
    "semaphore_register": "As semaphore_acquire; a name that is taken keeps its limit.",
    "semaphore_release": "As semaphore_acquire: only leases whose random name it knows.",
    "semaphore_value": "A number.",
}
#: why a worker may send each message on its connection; Dask adds who it is, and no message may say so itself
WORKER_MESSAGES: Final[dict[str, str]] = {
    "task-finished": "The outcome of a Dask task that it was given; the scheduler knows which those are.",
    "task-erred": "As task-finished.",
    "release-worker-data": "It has a piece of data no more.",
    "add-keys": "It has a copy of data; whoever uses Dask's data trusts the workers that hold them.",
    "long-running": "A task of its own has given its thread back.",
    "reschedule": "A task of its own is to run elsewhere.",
    "keep-alive": "Nothing.",
    "log-event": "A line for whoever subscribed to Dask's events; it is kept as bytes.",
    "worker-status-change": "It pauses, or goes on.",
    "request-refresh-who-has": "As who_has.",
    "steal-response": "Whether a task of its own has begun.",
    "close-stream": "It hangs up.",
    STREAM_OP: "OctaPi's own words, which :mod:`octapi.protocol.worker_messages` reads.",
}
WORKER_AT_SCHEDULER: Final = Allowed(frozenset(WORKER_REQUESTS), frozenset(WORKER_MESSAGES))
#: primitives of Dask that clients use too; only they close a semaphore, which is everybody's who knows its name
SHARED: Final = frozenset(name for name in WORKER_REQUESTS if name.startswith(("event_", "multi_", "semaphore_"))) | {
    "semaphore_close"
}
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
#: what clients inside tasks call besides, see :mod:`octapi.trust.nested_clients`
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
    if not isinstance(operation, str) or operation not in (allowed.stream if is_stream else allowed.rpc):
        raise RoleRefused(f"A {peer.role} may not call {operation!r:.60} on a {side}.")
    if operation in ("broadcast", "proxy"):
        inner = message.get("msg")
        asked = inner.get("op") if isinstance(inner, dict) else None
        if not isinstance(asked, str) or asked not in THROUGH_SCHEDULER:
            raise RoleRefused(f"A {peer.role} may not have {asked!r:.60} called on workers.")
