"""Functions of every shape run as in dispy, or the error says at once what dispy itself could not do."""

import functools

import dispy

CONSTANT = 7


class Machine:
    def __init__(self, k):
        self.k = k

    def compute(self, n):
        return self.k * n

    def __call__(self, n):
        return self.k + n


def decorate(fn):
    @functools.wraps(fn)
    def inner(*args, **kwargs):
        return fn(*args, **kwargs) + 100

    return inner


@decorate
def decorated(n):
    return n


def defaults(n, m=5, *, k=2):
    return n + m + k


def recursive(n):
    return 1 if n == 0 else n * recursive(n - 1)


def generates(n):
    yield n


async def later(n):
    return n


def annotated(n: int) -> "NotDefined":
    return n


def with_global(n):
    return n + CONSTANT


def make_closure():
    k = 3

    def inner(n):
        return n * k

    return inner


def make_nested():
    def nested(n):
        # at the margin of the file
        text = """
left
"""
        return n + len(text)

    return nested


def make_decorated():
    @decorate
    def inside(n):
        return n

    return inside


def fails(n):
    raise LookupError(f"number {n}")


MUST = [
    (Machine.compute, (Machine(3), 4), [Machine], 12), (defaults, (1,), [], 8), (recursive, (5,), [], 120),
    (annotated, (1,), [], 1), (make_nested(), (1,), [], 7), (decorated, (1,), [decorate], 101),
    (make_decorated(), (1,), [decorate], 101),
]  # fmt: skip
MAY = [
    (Machine(3).compute, (4,), [], 12), (decorated, (1,), [], 101), (generates, (5,), [], None), (later, (1,), [], 1),
    (with_global, (1,), [], 8), (make_closure(), (2,), [], 6), (lambda n: n + 1, (1,), [], 2),
    (functools.partial(defaults, 1), (2,), [], 5), (pow, (2, 3), [], 8), (Machine(2), (3,), [], 5), (sum, ([1, 2],), [], 3),
    (recursive, (3,), [lambda: 1], 6), (None, (), [], None), ("/no/such/program", (), [], None), (fails, (4,), [], None),
    (Machine, (3,), [Machine], None),
]  # fmt: skip


def run(compute, args, depends):
    """Return the result, the words of the error, and the job's status."""
    try:
        cluster = dispy.JobCluster(compute, depends=depends)
    except Exception as error:
        return None, f"{type(error).__name__}: {error}", None
    job = cluster.submit(*args)
    assert job.finish.wait(60), (compute, job.status)
    cluster.close()
    return job.result, job.exception or "", job.status


if __name__ == "__main__":
    for compute, args, depends, wanted in MUST:
        result, words, status = run(compute, args, depends)
        assert (result, status) == (wanted, dispy.DispyJob.Finished), (compute, result, words)
    for compute, args, depends, wanted in MAY:
        result, words, _ = run(compute, args, depends)
        assert words or wanted is None or result == wanted, (compute, result, words)
    result, words, status = run(fails, (4,), [])
    assert "LookupError: number 4" in words, words
    assert status == dispy.DispyJob.Terminated, status
    print("holds")
