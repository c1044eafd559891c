"""run_in_executor, gather, wait_for, wrap_future and async functions work as with the standard executors."""

import asyncio
import time

import octapi


def work(n):
    time.sleep(0.05)
    return n


def fails(n):
    raise LookupError(n)


async def later(n, by=1):
    await asyncio.sleep(0.01)
    return n + by


class Client:
    async def fetch(self, n):
        await asyncio.sleep(0)
        return n * 2


async def main(cluster):
    loop = asyncio.get_running_loop()
    found = await asyncio.gather(*(loop.run_in_executor(cluster, work, n) for n in range(6)))
    assert found == list(range(6)), found
    wrapped = await asyncio.wrap_future(cluster.submit(work, 7))
    assert wrapped == 7, wrapped
    try:
        await loop.run_in_executor(cluster, fails, 3)
    except LookupError as error:
        assert error.args == (3,), error
    else:
        raise AssertionError("no error")
    try:
        await asyncio.wait_for(loop.run_in_executor(cluster, time.sleep, 100), 0.5)
    except TimeoutError:
        pass
    else:
        raise AssertionError("it slept")
    after = [asyncio.wait_for(loop.run_in_executor(cluster, work, n), 60) for n in range(6)]
    assert await asyncio.gather(*after) == list(range(6))
    done, pending = await asyncio.wait([loop.run_in_executor(cluster, work, n) for n in range(3)])
    assert sorted(job.result() for job in done) == [0, 1, 2], done
    assert not pending


with octapi.Cluster() as cluster:
    asyncio.run(main(cluster))
    assert cluster.submit(later, 3).result(60) == 4
    assert cluster.submit(later, 3, by=5).result(60) == 8
    assert list(cluster.map(later, range(3))) == [1, 2, 3]
    assert cluster.submit(Client().fetch, 4).result(60) == 8
print("holds")
