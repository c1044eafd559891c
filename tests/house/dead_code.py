"""Names in src that nothing there reads, each with the reason why it stays: a file, a reason, names."""

from typing import Final

COMMANDS: Final = "the table of commands in cli/table.py names it"
DASK: Final = "Dask calls or reads it"
DISPY: Final = "dispy's scripts may call, pass or read it"
FIELD: Final = "it travels or is stored as a field, and is read by its place or from a dictionary"
HTTP: Final = "the standard library's server calls or reads it"
LIBRARY: Final = "the library whose class or object it belongs to calls or reads it"
PYTHON: Final = "the interpreter or the standard library reads it"
USERS: Final = "users' scripts may call, pass or read it"
UVICORN: Final = "uvicorn calls or reads it"

NOT_DEAD: Final[list[tuple[str, str, str]]] = [
    ("__init__.py", PYTHON, "__getattr__"),
    ("cli/bench.py", COMMANDS, "bench"),
    ("cli/commands.py", LIBRARY, "format_help command_class"),
    ("cli/demo.py", COMMANDS, "demo"),
    ("cli/doctor.py", COMMANDS, "doctor"),
    ("cli/fleet.py", COMMANDS, "reboot"),
    ("cli/lazy.py", LIBRARY, "__signature__"),
    ("cli/scripts.py", COMMANDS, "RunCommand"),
    ("cli/trust.py", COMMANDS, "token_app identity_app list_tokens"),
    ("client/dask_client.py", DASK, "_restart"),
    ("client/job_errors.py", USERS, "is_out_of_memory"),
    ("client/pool_arguments.py", USERS, "max_workers mp_context initializer initargs max_tasks_per_child"),
    ("dask_plugins/pool.py", DASK, "teardown"),
    ("dask_plugins/relay.py", DASK, "remove_client valid_workers_downscaling"),
    ("device/discovery.py", LIBRARY, "service_type state_change"),
    ("dispy/argument_types.py", DISPY, "node_port scheduler_node"),
    ("dispy/cluster.py", DISPY, "ipv4_udp_multicast dispy_job_depends submit_job_id submit_node update_time"),
    ("dispy/cluster.py", DISPY, "discover_nodes deallocate_node close_node resetup_node node_jobs from_node"),
    ("dispy/config.py", DISPY, "DispyPort HTTPServerPort MaxFileSize IPv4MulticastGroup IPv6MulticastGroup"),
    ("dispy/config.py", DISPY, "ClientPort NodePort SharedSchedulerPort Java"),
    ("dispy/httpd.py", DISPY, "add_cluster del_cluster"),
    (
        "dispy/httpd.py",
        "the path of a request names it",
        "get_nodes get_cluster_updates post_node_info post_cancel_jobs",
    ),
    ("dispy/httpd.py", "the path of a request names it", "post_add_node post_close_node post_allocate_node"),
    ("dispy/httpd.py", "the path of a request names it", "post_deallocate_node post_set_cpus post_update"),
    ("dispy/httpd.py", HTTP, "daemon_threads protocol_version do_GET do_POST close_connection log_message"),
    ("dispy/job.py", DISPY, "_dispy_job_"),
    ("dispy/logger.py", DISPY, "FATAL show_ms fatal"),
    ("dispy/net.py", DISPY, "ifn broadcast netmask ipv4_multicast"),
    ("dispy/node.py", DISPY, "update_time jobs_pending"),
    ("dispy/shared.py", DISPY, "client_port scheduler_host"),
    ("engine/dask_comm.py", DASK, "comm_class _handle_stream get_listen_args"),
    ("engine/dask_nodes.py", DASK, "start_http_server get_startup_information"),
    ("errors.py", USERS, "is_out_of_memory"),
    ("install/repack.py", PYTHON, "compress_type external_attr"),
    ("master/gateway/gateway.py", DASK, "idempotent add_client remove_client"),
    ("page/process.py", UVICORN, "startup servers capture_signals main_loop should_exit"),
    ("pickling/sending.py", PYTHON, "reducer_override"),
    ("pool/job_directory.py", PYTHON, "tempdir"),
    ("protocol/replies.py", FIELD, "was_found"),
    ("protocol/stream.py", PYTHON, "get_buffer sizehint buffer_updated eof_received pause_writing resume_writing"),
    ("store/reader.py", FIELD, "first_seen joins deaths"),
    ("telemetry/redaction.py", PYTHON, "msg"),
    ("telemetry/run_trace.py", FIELD, "retried unheard anew"),
    ("trust/contexts.py", PYTHON, "num_tickets"),
]
