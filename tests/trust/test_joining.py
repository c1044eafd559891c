"""One line joins a device: tokens, names, identities on disk, and the messages when something is wrong."""

import json
import os
import stat
import time
from pathlib import Path

import pytest

from tests.harness import Yard, ports_of, until

COUNT = (
    "import octapi\nwith octapi.Cluster() as c: print(sorted(c.map(abs, [-1, -2, -3])), [w.name for w in c.workers()])"
)


def test_a_token_makes_a_worker_a_login_makes_a_client_and_scripts_run(yard: Yard) -> None:
    """The three lines of the README, on three devices; the secret is in no argument, log or environment."""
    master = yard.master("--name", "school")
    worker = yard.worker("red", token := yard.token())
    said = yard.command("laptop", "login", yard.token("--role", "client"))

    assert "Logged in to the cluster 'school'" in said
    assert yard.run("laptop", COUNT).splitlines()[-1] == "[1, 2, 3] ['red']"
    secret = token.split(".")[3]
    for process in (master, worker):
        assert secret not in process.text()
    for part in ("cmdline", "environ"):
        assert secret.encode() not in Path(f"/proc/{worker.process.pid}/{part}").read_bytes()


def test_a_token_in_the_arguments_is_gone_from_them_at_once(yard: Yard) -> None:
    """Other logins of the computer cannot read it with ps."""
    yard.master()
    token = yard.token()
    worker = yard.start("red", "worker", token, "--name", "red", "--slots", "1", "--ssh-port", "0")
    worker.until_says("red works for")

    assert token.encode() not in Path(f"/proc/{worker.process.pid}/cmdline").read_bytes()
    assert b"red" in Path(f"/proc/{worker.process.pid}/cmdline").read_bytes()


def test_the_master_gives_its_own_login_an_identity_without_a_token(yard: Yard) -> None:
    """On the master a script just runs; the owner is known to the kernel."""
    yard.master()
    yard.worker("red", yard.token())

    assert yard.run("master", COUNT).splitlines()[-1] == "[1, 2, 3] ['red']"


def test_identities_are_for_their_owner_alone_and_refused_when_they_are_not(yard: Yard) -> None:
    """0600 in a 0700 directory; wider files are not used."""
    yard.master()
    worker = yard.worker("red", yard.token())
    worker.stop()
    for home in ("master", "red"):
        for path in yard.home(home).rglob("*"):
            mode = stat.S_IMODE(path.stat().st_mode)
            assert path.is_socket() or mode == (0o700 if path.is_dir() else 0o600), path
    (yard.home("red") / "worker.json").chmod(0o644)

    assert "has mode 0644, so others may have read" in yard.command("red", "worker", code=1)


def test_a_worker_needs_its_token_once(yard: Yard) -> None:
    """After a restart it works again, with another token in its hands too: an expired one does no harm."""
    yard.master()
    worker = yard.worker("red", token := yard.token("--life", "8s"))
    worker.stop()
    yard.worker("red").stop()
    until(lambda: "expired" in yard.command("master", "token", "list"))

    assert "joined" not in yard.worker("red", token).text()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda token: token[:-1], "incomplete or has a typing mistake"),
        (lambda token: token.replace("octapi1.", "octapi2.", 1), "another version of OctaPi"),
        (lambda token: "hello", "not a token of OctaPi"),
    ],
)
def test_a_token_that_was_copied_badly_is_told_from_a_wrong_one(yard: Yard, spoil, words: str) -> None:  # type: ignore[no-untyped-def]
    """Nothing is sent for it, and no master is needed to say so."""
    from octapi.trust.token import Token

    token = Token(os.urandom(32), "abcdef", os.urandom(16), ("127.0.0.1:1",)).text()

    assert words in yard.start_worker("red", spoil(token)).until_says("octapi:")


def test_expired_revoked_used_up_and_foreign_tokens_each_have_their_message(yard: Yard) -> None:
    """Each says what to do."""
    yard.master()
    used = yard.token("--once")
    yard.worker("red", used)
    expired, revoked = yard.token("--life", "1s"), yard.token()
    yard.command("master", "token", "revoke", revoked.split(".")[2])
    named, client = yard.token("--name", "pi-*"), yard.token("--role", "client")
    until(lambda: "expired" in yard.command("master", "token", "list"))

    for token, words in (
        (used, "is used up"),
        (expired, "is expired"),
        (revoked, "is revoked"),
        (named, "for names like 'pi-*', not for 'blue'"),
        (client, "is for a client, not for a worker"),
    ):
        blue = yard.start_worker("blue", token)
        assert blue.wait() == 1
        assert words in blue.text()
    states = {row["ident"]: row["state"] for row in json.loads(yard.command("master", "token", "list", "--json"))}
    assert [states[token.split(".")[2]] for token in (used, expired, revoked)] == ["used up", "expired", "revoked"]


def test_a_token_of_another_cluster_sends_no_secret(yard: Yard) -> None:
    """Whoever answers has another authority: the worker says so, and that master never hears of the token."""
    first, second = yard.master(), yard.master(home="other")
    from octapi.trust.token import Token, parse

    mine = parse(yard.token())
    port = ports_of(second)["join"]
    worker = yard.start_worker("red", Token(mine.pin, mine.ident, mine.secret, (f"127.0.0.1:{port}",)).text())

    assert worker.wait() == 1
    assert "is not the master that made this token" in worker.text()
    assert mine.ident not in second.text()
    assert first.process.poll() is None


def test_a_wrong_secret_is_refused_and_guessing_is_slowed_down(yard: Yard) -> None:
    """After five wrong ones an address has to wait, and the log says who tries; the right one lets in."""
    master = yard.master()
    from octapi.trust.token import Token, parse

    mine = parse(yard.token())
    said = []
    for number in range(6):
        wrong = Token(mine.pin, mine.ident, bytes([number]) * 16, mine.addresses).text()
        said.append(yard.command("red", "login", "-", input=wrong, code=1))

    assert ["does not know the token" in text for text in said] == [True] * 5 + [False]
    assert "Too many wrong tokens came from 127.0.0.1" in said[5]
    assert "tries too often" in master.text()
    yard.worker("red", mine.text())


def test_a_name_that_is_taken_is_refused_and_the_same_device_replaces_itself(yard: Yard) -> None:
    """Another device must choose another name; this one may join again, and may change its name."""
    yard.master()
    red = yard.worker("red", yard.token())
    thief = yard.start_worker("red", yard.token(), home="thief")
    assert thief.wait() == 1
    assert "The name 'red' is taken by another worker" in thief.text()
    red.stop()

    yard.worker("crimson", yard.token(), home="red")
    yard.worker("red", yard.token(), home="thief")
    rows = json.loads(yard.command("master", "nodes", "--json"))
    assert sorted(row["name"] for row in rows) == ["crimson", "red"]


def test_names_cannot_leave_their_place(yard: Yard) -> None:
    """Slashes, dots and newlines are refused by the authority."""
    yard.master()
    token = yard.token()
    for name in ("../../etc/passwd", "a/b", "..", "a b", "x" * 70):
        bad = yard.start_worker(name, token, home="bad")
        assert bad.wait() == 1
        assert "cannot be the name of a device" in bad.text(), bad.text()


def test_removing_is_at_once_and_for_good(yard: Yard) -> None:
    """The worker ends with a message within five seconds, stays out, and comes back only with a new token."""
    yard.master()
    token = yard.token()
    red, blue = yard.worker("red", token), yard.worker("blue", token)
    said = yard.command("master", "nodes", "remove", "red")
    assert "Removed worker red" in said
    assert token.split(".")[2] in said.split("Revoked with it: ")[1]

    assert red.wait(5 + 3) == 1  # the worker asks why, and ends
    assert "red was removed from this cluster" in red.text()
    assert "red was removed" in yard.command("red", "worker", "--ssh-port", "0", code=1)
    rows = json.loads(yard.command("master", "nodes", "--json"))
    assert [row["name"] for row in rows] == ["blue"]
    for name in ("red", "other"):
        again = yard.start_worker(name, token, home="red")
        assert again.wait() == 1
        assert "was removed from this cluster after the token" in again.text()
    yard.worker("red", yard.token())
    assert blue.process.poll() is None
    assert "Nobody here is called 'green'" in yard.command("master", "nodes", "remove", "green", code=1)


def test_a_removed_login_is_cut_off_in_the_middle_of_its_script(yard: Yard) -> None:
    """The script gets an error, not silence."""
    yard.master()
    yard.worker("red", yard.token())
    yard.command("laptop", "login", yard.token("--role", "client"), "--name", "ann")
    code = (
        "import octapi, time\nc = octapi.Cluster()\nj = c.submit(time.sleep, 100)\nprint('on', flush=True)\nj.result()"
    )
    script = yard.running[0].__class__([__import__("sys").executable, "-c", code], yard.home("laptop"))
    yard.running.append(script)
    script.until_says("on")
    yard.command("master", "nodes", "remove", "ann")

    assert script.wait() != 0
    assert "was removed from this cluster" in script.text()
    assert "was removed from this cluster" in yard.run("laptop", COUNT, exit_code=1)


def test_two_workers_cannot_share_one_identity(yard: Yard) -> None:
    """The second says so at once."""
    yard.master()
    yard.worker("red", yard.token())

    assert "runs with the identity" in yard.command("red", "worker", "--ssh-port", "0", code=1)


def test_the_whole_cluster_survives_its_masters_death_from_a_backup(yard: Yard) -> None:
    """A new device with the backup is the master: workers find it and work, without a token."""
    master = yard.master()
    ports = ports_of(master)
    red = yard.worker("red", yard.token())
    backup = yard.place / "stick.backup"
    yard.command("master", "identity", "backup", str(backup))
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    master.stop()
    red.until_says("looking for it again")

    assert "is a master already" in yard.command("master", "identity", "restore", str(backup), code=1)
    yard.command("new", "identity", "restore", str(backup))
    yard.master(home="new", ports=(str(ports["join"]), "0", "0"))
    red.until_says("red works for", times=2)
    assert yard.run("new", COUNT).splitlines()[-1] == "[1, 2, 3] ['red']"


def test_insecure_and_secured_never_mix(yard: Yard) -> None:
    """Each side refuses the other, and a member refuses --insecure."""
    secured = yard.master()
    yard.worker("red", yard.token())
    yard.command("laptop", "login", yard.token("--role", "client"))
    plain = yard.start("plain", "master", "--insecure", "--port", "0", "--dask-port", "0")
    line = plain.until_says("clients at")
    assert "Anyone who reaches this port can run code here" in line
    address = line.split("clients at ")[1].split(",")[0]

    mixed = yard.run("laptop", f"import octapi; octapi.Cluster({address!r})", exit_code=1)
    assert "does not speak TLS" in mixed
    secured_address = f"127.0.0.1:{ports_of(secured)['clients']}"
    env = {"OCTAPI_INSECURE": "1"}
    assert yard.run("stranger", f"import octapi; octapi.Cluster({secured_address!r})", exit_code=1, env=env)
    assert "has no identity" in yard.run("stranger", f"import octapi; octapi.Cluster({secured_address!r})", exit_code=1)
    assert "would leave aside" in yard.command("red", "worker", "127.0.0.1:1", "--insecure", code=1)
    assert "would leave aside" in yard.command("master", "master", "--insecure", code=1)
    joined = yard.command("x", "worker", f"127.0.0.1:{ports_of(secured)['dask']}", "--insecure", code=1)
    assert "could not work for" in joined


def test_an_expired_identity_renews_itself_by_its_key(yard: Yard) -> None:
    """A summer in a cupboard: the certificate has ended, the device was not removed."""
    yard.master("--certificate-life", "2s")
    red = yard.worker("red", yard.token())
    red.stop()
    ends = json.loads((yard.home("red") / "worker.json").read_text())["ends"]
    until(lambda: time.time() > ends + 0.5)

    assert "renewed this worker's certificate" in yard.worker("red").text()


def test_certificates_are_renewed_while_a_job_runs(yard: Yard) -> None:
    """Between half and four fifths of their life, without a word to the script."""
    yard.master("--certificate-life", "20s")
    red = yard.worker("red", yard.token())
    first = json.loads((yard.home("red") / "worker.json").read_text())
    code = "import octapi, time\nwith octapi.Cluster() as c: print(c.submit(time.sleep, 22).result())"
    assert yard.run("master", code).splitlines()[-1] == "None"

    red.until_says("renewed this worker's certificate")
    second = json.loads((yard.home("red") / "worker.json").read_text())
    assert second["certificate"] != first["certificate"]
    assert second["key"] != first["key"]
    assert second["ident"] == first["ident"]


def test_the_authority_is_replaced_while_the_cluster_works(yard: Yard) -> None:
    """One command: workers get new certificates, a worker that was away comes back, old tokens work on."""
    yard.master()
    red, blue = yard.worker("red", yard.token()), yard.worker("blue", yard.token())
    old_token = yard.token()
    blue.stop()
    code = (
        "import octapi, time\nwith octapi.Cluster() as c: print(sum(c.map(lambda n: time.sleep(0.1) or n, range(100))))"
    )
    script = red.__class__([__import__("sys").executable, "-c", code], yard.home("master"))
    yard.running.append(script)
    until(lambda: json.loads(yard.command("master", "jobs", "--json")))
    root = yard.command("master", "identity", "rotate").split("is ")[1].split(" ")[0]

    red.until_says("renewed this worker's certificate")
    assert script.wait() == 0
    assert "4950" in script.text()
    assert json.loads((yard.home("red") / "worker.json").read_text())["root"] == root
    yard.worker("blue")
    assert json.loads((yard.home("blue") / "worker.json").read_text())["root"] == root
    yard.worker("green", old_token)
    assert "['blue', 'green', 'red']" in yard.run(
        "master", COUNT.replace("[w.name", "sorted(w.name").replace("()])", "()))")
    )


def test_doctor_says_step_by_step_what_it_saw(yard: Yard) -> None:
    """A member, a removed member, a device in no cluster, and a token."""
    master = yard.master("--name", "school")
    yard.worker("red", yard.token()).stop()

    healthy = yard.command("red", "doctor")
    assert "worker red of the cluster 'school'" in healthy
    assert "knows red" in healthy
    assert "clock: within" in healthy
    assert "is the master that made this token" in yard.command("new", "doctor", "-", input=yard.token())
    assert "is in no cluster" in yard.command("nobody", "doctor")
    yard.command("master", "nodes", "remove", "red")
    assert "FAIL  membership: red was removed" in yard.command("red", "doctor", code=1)
    master.stop()
    steps = json.loads(yard.command("red", "doctor", "--json", code=1))
    assert any(step["result"] == "fail" and "nothing listens" in step["text"] for step in steps)


def test_a_worker_that_leaves_is_on_no_list_and_may_come_back_under_its_name(yard: Yard) -> None:
    """As a container of a scaled service does; its token stays good, and what it was is refused."""
    yard.master()
    worker = yard.worker("red", token := yard.token(), "--leaves")
    worker.stop()

    assert "left the cluster" in worker.text()
    until(lambda: json.loads(yard.command("master", "nodes", "--json")) == [])
    assert "was removed from this cluster" in yard.command("red", "worker", "--ssh-port", "0", code=1)
    assert "joined" in yard.worker("red", token).text()
    assert [row["name"] for row in json.loads(yard.command("master", "nodes", "--json"))] == ["red"]


def test_a_worker_that_left_can_still_be_removed_with_the_token_by_which_it_came(yard: Yard) -> None:
    """It is on no list any more, but its token would let it in again; a name that nobody had is still unknown."""
    yard.master()
    token = yard.token()
    yard.worker("red", token, "--leaves").stop()
    until(lambda: json.loads(yard.command("master", "nodes", "--json")) == [])

    assert "Removed worker red." in yard.command("master", "nodes", "remove", "red")
    (row,) = json.loads(yard.command("master", "token", "list", "--json"))
    assert row["state"] == "revoked"
    refused = yard.start_worker("red", token, home="another")
    assert refused.wait() == 1
    assert "red was removed from this cluster after the token" in refused.text()
    assert "Nobody here is called 'red'" in yard.command("master", "nodes", "remove", "red", code=1)


def test_a_worker_that_leaves_while_its_master_is_away_ends_all_the_same(yard: Yard) -> None:
    """It says that it stays on the list, and works again once both are back."""
    master = yard.master()
    port = ports_of(master)["join"]
    worker = yard.worker("red", yard.token(), "--leaves")
    master.stop()
    worker.until_says("lost the master")

    worker.stop()
    assert "could not leave the cluster's list" in worker.text()
    yard.master("--join-port", str(port))
    yard.worker("red")
