"""Callbacks submit, wait, fail and shut down without stopping anybody; every shutdown ends."""

import concurrent.futures
import threading
import time

import octapi


def work(n):
    time.sleep(0.1)
    return n


def ends(fn):
    """Run it in a thread, for a fault would be that it never ends."""
    found = []

    def run():
        try:
            found.append(fn())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert found == [True], (fn.__name__, found or "it does not end")


def a_callback_submits():
    later = concurrent.futures.Future()
    with octapi.Cluster() as cluster:
        cluster.submit(work, 1).add_done_callback(lambda job: later.set_result(cluster.submit(work, 2)))
        return later.result(50).result(50) == 2


def a_callback_waits_for_another_job():
    found = concurrent.futures.Future()
    with octapi.Cluster() as cluster:
        other = cluster.submit(work, 5)
        cluster.submit(abs, 1).add_done_callback(lambda job: found.set_result(other.result(50)))
        return found.result(50) == 5


def a_callback_maps():
    found = concurrent.futures.Future()
    with octapi.Cluster() as cluster:
        cluster.submit(abs, 1).add_done_callback(lambda job: found.set_result(list(cluster.map(abs, [-1, -2]))))
        return found.result(50) == [1, 2]


def a_callback_shuts_down():
    cluster = octapi.Cluster()
    jobs = [cluster.submit(work, n) for n in range(6)]
    jobs[0].add_done_callback(lambda job: cluster.shutdown(wait=False, cancel_futures=True))
    return len(concurrent.futures.wait(jobs, 50).done) == 6


def a_callback_shuts_down_and_waits():
    cluster = octapi.Cluster()
    jobs = [cluster.submit(work, n) for n in range(6)]
    jobs[0].add_done_callback(lambda job: cluster.shutdown())
    return [job.result(50) for job in jobs] == list(range(6))


def callbacks_fail_and_exit():
    def exits(job):
        raise SystemExit(3)

    with octapi.Cluster() as cluster:
        job = cluster.submit(work, 1)
        called = []
        for callback in (lambda job: 1 / 0, exits, called.append):
            job.add_done_callback(callback)
        return job.result(50) == 1 and cluster.submit(work, 2).result(50) == 2 and until(lambda: called == [job])


def until(condition):
    deadline = time.monotonic() + 50
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
    return True


def shutdown_waits_for_callbacks():
    called = []
    with octapi.Cluster() as cluster:
        for n in range(4):
            cluster.submit(work, n).add_done_callback(lambda job: (time.sleep(0.1), called.append(job.result())))
    return sorted(called) == [0, 1, 2, 3]


def shutdown_twice():
    cluster = octapi.Cluster()
    job = cluster.submit(work, 1)
    cluster.shutdown()
    cluster.shutdown()
    cluster.shutdown(wait=False)
    try:
        cluster.submit(work, 1)
    except RuntimeError:
        return job.result(0) == 1
    return False


def results_after_shutdown():
    cluster = octapi.Cluster()
    found = cluster.map(work, range(3))
    cluster.shutdown()
    return list(found) == [0, 1, 2]


def cancel_and_wait():
    with octapi.Cluster() as cluster:
        jobs = [cluster.submit(time.sleep, 100) for _ in range(8)]
        are_cancelled = all(job.cancel() for job in jobs)
        done = concurrent.futures.wait(jobs, 50).done
        return are_cancelled and len(done) == 8 and len(list(concurrent.futures.as_completed(jobs, 50))) == 8


def an_iterator_is_closed_while_another_thread_reads():
    with octapi.Cluster() as cluster:
        found, got = cluster.map(time.sleep, [100] * 4), []
        thread = threading.Thread(target=lambda: got.append(list(found)), daemon=True)
        thread.start()
        found.close()
        thread.join(50)
        return not thread.is_alive()


def a_callback_of_a_cancelled_job():
    with octapi.Cluster() as cluster:
        called = []
        job = cluster.submit(time.sleep, 100)
        job.add_done_callback(called.append)
        return job.cancel() and until(lambda: called == [job]) and job.cancelled()


for fn in (
    a_callback_submits, a_callback_waits_for_another_job, a_callback_maps, a_callback_shuts_down,
    a_callback_shuts_down_and_waits, callbacks_fail_and_exit, shutdown_waits_for_callbacks, shutdown_twice,
    results_after_shutdown, cancel_and_wait, an_iterator_is_closed_while_another_thread_reads,
    a_callback_of_a_cancelled_job,
):  # fmt: skip
    ends(fn)
print("holds")
