"""The dispy API on a real master with two workers: nodes and what scripts do with them."""

from pathlib import Path

from conftest import Run


def test_setup_arguments_and_files_of_each_node_are_its_own(run: Run, tmp_path: Path) -> None:
    """A NodeAllocate subclass sets depends and setup_args per node, as dispy's node_setup example does."""
    (tmp_path / "data.txt").write_text("payload")
    done = run(
        """
        import dispy
        class Alloc(dispy.NodeAllocate):
            def allocate(self, cluster, ip_addr, name, cpus, avail_info=None, platform=''):
                assert avail_info is None or avail_info.memory > 0
                self.depends = ['data.txt']
                self.setup_args = (name, 7)
                return cpus
        def setup(name, number):
            global data, who
            data = open('data.txt').read()
            who = (name, number)
            return 0
        def cleanup(name, number):
            assert number == 7
        def compute():
            return data, who, dispy_node_name
        if __name__ == '__main__':
            cluster = dispy.JobCluster(compute, nodes=[Alloc('*')], setup=setup, cleanup=cleanup)
            for job in [cluster.submit() for _ in range(4)]:
                data, who, node = job()
                print(data, who[0] == node, who[1])
        """
    )

    assert done.stdout == "payload True 7\n" * 4


def test_events_come_in_dispys_order(run: Run) -> None:
    """Created, Running, provisional results, job_status before cluster_status, Closed at the end."""
    done = run(
        """
        import dispy, threading
        lock = threading.Lock()
        events = []
        def job_status(job):
            events.append(('job', job.status))
        def cluster_status(status, node, job):
            if status not in (dispy.DispyNode.AvailInfo,):
                events.append(('cluster', status))
        def compute():
            import time
            time.sleep(0.3)
            dispy_provisional_result(1)
            return 2
        cluster = dispy.JobCluster(compute, job_status=job_status, cluster_status=cluster_status)
        job = cluster.submit()
        job()
        cluster.shutdown()
        wanted = [e for e in events if e not in (('cluster', 4), ('cluster', 16))]
        print(wanted)
        print(events.count(('cluster', 4)), events.count(('cluster', 16)), events[-1])
        """
    )

    assert done.stdout.splitlines() == [
        "[('cluster', 5), ('cluster', 6), ('job', 7), ('cluster', 7), ('job', 11), ('cluster', 11)]",
        "2 2 ('cluster', 16)",
    ]


def test_nodes_tell_how_they_are_doing_every_few_seconds(run: Run) -> None:
    """AvailInfo arrives without a job, and the node's figures are those of the device."""
    done = run(
        """
        import dispy, threading
        told = threading.Event()
        def cluster_status(status, node, job):
            if status == dispy.DispyNode.AvailInfo:
                told.set()
        def compute():
            return 1
        cluster = dispy.JobCluster(compute, cluster_status=cluster_status, pulse_interval=1)
        assert told.wait(30)
        info = cluster.status().nodes[0].avail_info
        print(info.memory > 0, info.disk > 0, 0 <= info.cpu <= 100)
        cluster.shutdown()
        """
    )

    assert done.stdout == "True True True\n"


def test_submit_node_from_cluster_status_runs_on_that_node(run: Run) -> None:
    """As dispy's job_scheduler example: a job is pinned when its node is ready."""
    done = run(
        """
        import dispy
        jobs = []
        def status(status, node, job):
            if status == dispy.DispyNode.Initialized:
                jobs.append((node.name, cluster.submit_node(node)))
        def compute():
            return dispy_node_name
        cluster = dispy.JobCluster(compute, cluster_status=status)
        first = cluster.submit()
        first()
        while len(jobs) < 2:
            pass
        print(sorted((name, job()) for name, job in jobs))
        print(cluster.submit_node('no-such-node'))
        """
    )

    assert "[('worker-1', 'worker-1'), ('worker-2', 'worker-2')]" in done.stdout
    assert "no-such-node" in done.stdout
    assert done.stdout.endswith("None\n")


def test_nodes_are_deallocated_allocated_and_limited(run: Run) -> None:
    """A deallocated node gets no jobs, and gets them again later; unknown nodes are -1."""
    done = run(
        """
        import dispy
        def compute():
            import time
            time.sleep(0.02)
            return dispy_node_name
        cluster = dispy.JobCluster(compute)
        print(cluster.deallocate_node('worker-1'))
        print({cluster.submit()() for _ in range(5)})
        print(cluster.submit_node('worker-1'))
        print(cluster.allocate_node('worker-1'))
        print(sorted({job() for job in [cluster.submit() for _ in range(20)]}))
        print([cluster.set_node_cpus(*pair) for pair in (('worker-1', 5), ('worker-1', -1), ('x', 1))])
        print(cluster.node_jobs('x'), cluster.node_jobs('worker-2'), cluster.deallocate_node('x'))
        print(len(cluster.status().nodes))
        """
    )

    lines = [line for line in done.stdout.splitlines() if " dispy - " not in line]
    assert lines == ["0", "{'worker-2'}", "None", "0", "['worker-1', 'worker-2']", "[1, 0, -1]", "-1 [] -1", "2"]


def test_resetup_runs_cleanup_and_setup_with_new_arguments(run: Run, tmp_path: Path) -> None:
    """resetup_node asks allocate() again, and Initialized is sent again."""
    done = run(
        """
        import dispy, threading
        ready = threading.Semaphore(0)
        class Alloc(dispy.NodeAllocate):
            turn = 0
            def allocate(self, cluster, ip_addr, name, cpus, avail_info=None, platform=''):
                if name != 'worker-1':
                    return 0
                Alloc.turn += 1
                self.setup_args = (Alloc.turn, LOG)
                return cpus
        import os
        LOG = os.path.abspath('log.txt')
        def setup(turn, log):
            global number
            number = turn
            open(log, 'a').write('setup %d\\n' % turn)
            return 0
        def cleanup(turn, log):
            open(log, 'a').write('cleanup %d\\n' % turn)
        def compute():
            return number
        def status(status, node, job):
            if status == dispy.DispyNode.Initialized:
                ready.release()
        cluster = dispy.JobCluster(compute, nodes=[Alloc('*')], setup=setup, cleanup=cleanup, cluster_status=status)
        ready.acquire(timeout=30)
        print(cluster.submit()())
        print(cluster.resetup_node('worker-1'))
        ready.acquire(timeout=30)
        print(cluster.submit()())
        """
    )

    assert done.stdout == "1\n0\n2\n"
    assert (tmp_path / "log.txt").read_text().startswith("setup 1\ncleanup 1\nsetup 2\n")


def test_a_closed_node_is_cleaned_up_and_its_queued_jobs_end(run: Run) -> None:
    """close_node gives Closed; pinned jobs that wait are Cancelled and do not hang."""
    done = run(
        """
        import dispy, threading
        closed = threading.Event()
        def status(status, node, job):
            if status == dispy.DispyNode.Closed and node.name == 'worker-1':
                closed.set()
        def compute(n):
            import time
            time.sleep(n)
            return n
        cluster = dispy.JobCluster(compute, cluster_status=status)
        running = cluster.submit_node('worker-1', 0.5)
        queued = [cluster.submit_node('worker-1', 5) for _ in range(4)]
        while running.status == dispy.DispyJob.Created:
            pass
        print(cluster.close_node('worker-1'))
        print(running(), [job() for job in queued])
        print(closed.wait(30), queued[-1].status == dispy.DispyJob.Cancelled)
        """
    )

    assert done.stdout == "0\n0.5 [None, None, None, None]\nTrue True\n"


def test_files_travel_both_ways(run: Run, tmp_path: Path) -> None:
    """send_file puts a file beside the job; dispy_send_file brings one home under its relative path."""
    (tmp_path / "sent.txt").write_text("hello")
    done = run(
        """
        import dispy
        def compute():
            text = open('sent.txt').read()
            os.makedirs('out', exist_ok=True)
            with open('out/back.txt', 'w') as file:
                file.write(text + ' back')
            return dispy_send_file('out/back.txt'), dispy_send_file('missing')
        cluster = dispy.JobCluster(compute, nodes=['worker-1'])
        print(cluster.send_file('sent.txt', 'worker-1'), cluster.send_file('sent.txt', 'nobody'))
        try:
            cluster.send_file('absent.txt', 'worker-1')
        except FileNotFoundError:
            print('absent')
        job = cluster.submit()
        print(job() or job.exception)
        """
    )

    assert done.stdout == "0 -1\nabsent\n(0, -1)\n"
    assert (tmp_path / "out" / "back.txt").read_text() == "hello back"


def test_a_pattern_that_matches_nobody_means_everybody_and_is_said_once(run: Run) -> None:
    """OctaPi scripts carry the subnet of another room."""
    done = run(
        """
        import dispy
        def compute():
            return dispy_node_name
        cluster = dispy.JobCluster(compute, nodes=['192.168.77.*'])
        print(cluster.submit()() in ('worker-1', 'worker-2'))
        """
    )

    assert done.stdout == "True\n"
    assert done.stderr.count("no node matches 192.168.77.*; using all workers") == 1


def test_an_absent_node_is_waited_for_aloud(run: Run) -> None:
    """An explicit name is never replaced by another node; stderr says what is missing."""
    done = run(
        """
        import dispy
        def compute():
            return 1
        cluster = dispy.JobCluster(compute, nodes=['192.168.77.5'])
        job = cluster.submit()
        print(job.finish.wait(4.5), cluster.close(timeout=0.1), cluster.close(timeout=0.1, terminate=True))
        print(job.finish.is_set())
        """
    )

    assert done.stdout == "False False True\nTrue\n"
    assert "192.168.77.5, which has not joined" in done.stderr


def test_jobs_of_a_script_that_never_closes_are_waited_for(run: Run) -> None:
    """As in dispy, the end of the script waits, and callbacks are run."""
    done = run(
        """
        import dispy
        def status(job):
            print('done', job.id)
        def compute(n):
            import time
            time.sleep(0.2)
            return n
        cluster = dispy.JobCluster(compute, job_status=status)
        for i in range(4):
            job = cluster.submit(i)
            job.id = i
        """
    )

    assert sorted(done.stdout.splitlines()) == [f"done {i}" for i in range(4)]


def test_the_shared_cluster_takes_its_own_arguments(run: Run) -> None:
    """SharedJobCluster's order of arguments is dispy's, and its scheduler is the master."""
    done = run(
        """
        import dispy
        def compute(n):
            return n * 2
        cluster = dispy.SharedJobCluster(compute, ['*'], [], None, None, None, None, 0, 'localhost', reentrant=True)
        print(cluster.submit(4)())
        cluster.print_status()
        cluster.close()
        """
    )

    assert done.stdout.startswith("8\n\n            Node |  CPUs |    Jobs |")


def test_old_names_are_tolerated_with_a_warning(run: Run) -> None:
    """Scripts of old releases pass port, callback, ip_addr and scheduler_node."""
    done = run(
        """
        import dispy
        def compute(n):
            return n * 2
        def done(job):
            print('callback', job.result)
        cluster = dispy.JobCluster(compute, nodes='*', ip_addr='127.0.0.1', port=0, node_port=1, callback=done)
        cluster.submit(4)
        cluster.wait()
        cluster.stats()
        """
    )

    assert "callback 8" in done.stdout
    for name in ("ip_addr", "node_port", "callback"):
        assert f'"{name}"' in done.stdout
