"""The traceback of a job names the script's file and line and shows the line, in both interfaces."""

import traceback

import dispy

import octapi


def divide(n):
    return 10 / n  # here it fails


class Machine:
    def run(self, n):
        return divide(n)


def work(n):
    return Machine().run(n)


def compute(n):
    return 10 / n  # here dispy's fails


def text_of(error):
    return "".join(traceback.format_exception(error))


LINE = divide.__code__.co_firstlineno + 1
if __name__ == "__main__":
    with octapi.Cluster() as cluster:
        double = lambda n: divide(n)  # noqa: E731
        for fn in (work, divide, double, Machine().run):
            remote = text_of(cluster.submit(fn, 0).exception(60)).split("direct cause")[0]
            assert f'{__file__}", line {LINE}, in divide' in remote, remote
            assert "return 10 / n  # here it fails" in remote, remote
            assert "ZeroDivisionError" in remote, remote
        try:
            list(cluster.map(work, [1, 0]))
        except ZeroDivisionError as error:
            text = text_of(error)
            assert f"line {LINE}, in divide" in text, text
            assert "# here it fails" in text, text
        else:
            raise AssertionError("no error")
    jobs = dispy.JobCluster(compute, loglevel=50)
    job = jobs.submit(0)
    job()
    jobs.close()
    assert "return 10 / n  # here dispy's fails" in job.exception, job.exception
    assert __file__.rpartition("/")[2] in job.exception, job.exception
    assert f"line {compute.__code__.co_firstlineno + 1}" in job.exception, job.exception
    print("holds")
