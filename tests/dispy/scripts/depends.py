"""Files, modules, per-job dependencies, files sent both ways, missing dependencies."""

import pathlib

import dispy


def compute(name):
    import helper_module

    text = open(name).read()
    os.makedirs("made", exist_ok=True)
    with open("made/back.txt", "w") as file:
        file.write(text.upper())
    return helper_module.answer(), text, dispy_send_file("made/back.txt")


def with_code(n):
    return extra(n)


def extra(n):
    return n + 1000


if __name__ == "__main__":
    pathlib.Path("helper_module.py").write_text("def answer():\n    return 42\n")
    pathlib.Path("data.txt").write_text("data")
    cluster = dispy.JobCluster(compute, depends=["helper_module.py", "data.txt"], loglevel=50, **OPTIONS)
    job = cluster.submit("data.txt")
    print(job(), job.exception, pathlib.Path("made/back.txt").read_text())
    cluster.close()
    cluster = dispy.JobCluster(with_code, loglevel=50, **OPTIONS)
    print(cluster.submit(1, dispy_job_depends=[extra])(), cluster.submit(1, dispy_job_depends=["missing.txt"]))
    job = cluster.submit(1)
    print(job(), job.status, "NameError" in job.exception)
    cluster.close()
    for wrong in (["missing.txt"], [5]):
        try:
            dispy.JobCluster(with_code, depends=wrong, loglevel=50, **OPTIONS)
        except Exception as error:
            print("refused", "missing" in str(error))
