"""Jobs, batches, sessions and workers under random faults, without a network: one outcome for each job."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from octapi.dispatch import outcome
from octapi.dispatch.outbox import Counter, Outbox
from tests.faults.world import Told, World

WORKERS = st.integers(0, 1)


class Machine(RuleBasedStateMachine):
    """Moves a world by random steps; at the end everything is mended, and each job must have its one outcome."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        for worker in self.world.workers:
            worker.join()

    @rule(count=st.integers(1, 5), retries=st.sampled_from([0, 50]))
    def submit(self, count: int, retries: int) -> None:
        world = self.world
        for _ in range(count):
            ticket = Told(len(world.tickets), retries)
            world.tickets.append(ticket)
            world.loop.do(world.lane.submit, ticket)

    @rule(times=st.integers(1, 12))
    def all_goes_well_for_a_while(self, times: int) -> None:
        for _ in range(times):
            self.world.move()

    @rule(times=st.integers(1, 8))
    def client_speaks(self, times: int) -> None:
        for _ in range(times):
            self.world.client_speaks()

    @rule(times=st.integers(1, 8))
    def client_hears(self, times: int) -> None:
        for _ in range(times):
            self.world.client_hears()

    @rule(which=WORKERS, times=st.integers(1, 8))
    def worker_talks(self, which: int, times: int) -> None:
        for _ in range(times):
            self.world.workers[which].speak()
            self.world.workers[which].hear()

    @rule(which=WORKERS, times=st.integers(1, 4))
    def worker_works(self, which: int, times: int) -> None:
        for _ in range(times):
            self.world.workers[which].agent.step()

    @rule(which=WORKERS)
    def worker_gives_back(self, which: int) -> None:
        self.world.workers[which].agent.give_back()

    @rule(which=WORKERS)
    def worker_joins(self, which: int) -> None:
        if not self.world.workers[which].address:
            self.world.workers[which].join()

    @rule(which=WORKERS)
    def worker_loses_its_connection(self, which: int) -> None:
        self.world.workers[which].leave()

    @rule(which=WORKERS)
    def worker_dies(self, which: int) -> None:
        self.world.workers[which].leave()
        self.world.workers[which].start()

    @rule()
    def client_is_cut(self) -> None:
        self.world.cut()

    @rule()
    def client_comes_back(self) -> None:
        if self.world.up.is_closed:
            self.world.connect()

    @rule()
    def master_restarts(self) -> None:
        self.world.restart_master()

    @rule(seconds=st.sampled_from([1, 5, 40]))
    def time_passes(self, seconds: int) -> None:
        self.world.pass_time(seconds)

    def teardown(self) -> None:
        world = self.world
        try:
            world.finish()
            for ticket in world.tickets:
                assert len(ticket.outcomes) == 1, (ticket.number, ticket.outcomes)
                assert ticket.provisionals <= world.started[ticket.number]
                if ticket.retries:
                    assert ticket.outcomes == [outcome.VALUE]
                else:
                    assert world.started[ticket.number] <= 1
            assert not any(client.held or client.claims for client in world.gateway.clients.values())
        finally:
            world.close()


Machine.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
test_one_outcome_for_each_job_whatever_breaks = Machine.TestCase


@settings(max_examples=200, deadline=None)
@given(moves=st.lists(st.sampled_from(["send", "arrive", "acknowledge", "break"]), max_size=80))
def test_an_outbox_delivers_each_frame_once_and_in_order(moves: list[str]) -> None:
    """Whatever is lost on the way, the reader has a beginning of what was sent, and nothing is kept that it has."""
    outbox, counter = Outbox(), Counter()
    line: list[bytes] = []
    got: list[bytes] = []
    sent = 0
    for move in moves:
        if move == "send":
            sent += 1
            frame = str(sent).encode()
            outbox.append(frame)
            line.append(frame)
        elif move == "arrive" and line:
            got.append(line.pop(0))
            counter.took(1)
        elif move == "acknowledge":
            outbox.acknowledge(counter.tell())
        elif move == "break":
            outbox.acknowledge(counter.tell())
            line = outbox.since(counter.taken)
    assert got == [str(n).encode() for n in range(1, len(got) + 1)]
    assert outbox.bytes == sum(len(frame) for frame in outbox.since(outbox.acknowledged))
