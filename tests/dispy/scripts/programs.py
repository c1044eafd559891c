"""Programs: exit codes, bytes, arguments."""

import pathlib

import dispy

if __name__ == "__main__":
    pathlib.Path("program.py").write_text(
        "import sys\nprint('hello', *sys.argv[1:])\nprint('err', file=sys.stderr)\nsys.exit(int(sys.argv[1]))\n"
    )
    for program, args in (("program.py", (3, "a b")), ("/bin/echo", ("x", 5))):
        cluster = dispy.JobCluster(program, loglevel=50, **OPTIONS)
        job = cluster.submit(*args)
        print(cluster.name, job(), job.stdout, job.stderr, job.status, job.exception)
        cluster.close()
