"""Break an Enigma message by brute force with unknown rings: all ring settings in turn, until the first hit.

    python3 enigma_bf_efficient.py CIPHERTEXT CRIB

A job for each ring setting and order of rotors would be a million jobs.  Only a few wait at a time,
and the first hit ends the search.
"""

import sys
import threading
from itertools import permutations, product

ROTOR_ORDERS = [" ".join(order) for order in permutations(("I", "II", "III", "IV", "V"), 3)]
#: how many jobs may be pending
PENDING = 32
ALL_RINGS = (f"{a} {b} {c}" for a, b, c in product(range(1, 27), repeat=3))


def find_start(rotors, rings, ciphertext, crib):
    """Try every start position of three rotors; return the one that turns the ciphertext into the crib, or None.

    It runs on a node, so it imports for itself.  One letter is deciphered at a time: at most starts
    the first one is wrong already, and the rest need not be done.
    """
    from itertools import product
    from string import ascii_uppercase

    from enigma.machine import EnigmaMachine

    machine = EnigmaMachine.from_key_sheet(
        rotors=rotors,
        reflector="B",
        ring_settings=rings,
        plugboard_settings="AV BS CG DL FU HZ IN KM OW RX",
    )
    letters = list(zip(ciphertext, crib))
    for start in product(ascii_uppercase, repeat=3):
        machine.set_display("".join(start))
        if all(machine.key_press(cipher) == plain for cipher, plain in letters):
            return "".join(start)
    return None


class Search:
    """The setting, once it is found, and how many jobs are on their way."""

    def __init__(self):
        self.hit = None
        self.failed = None
        self.pending = 0
        self.changed = threading.Condition()

    def job_status(self, job):
        """Called by dispy, in a thread of its own, whenever a job has ended."""
        with self.changed:
            if job.status == dispy.DispyJob.Finished and job.result:
                self.hit = (*job.id, job.result)
            elif job.status == dispy.DispyJob.Terminated and self.hit is None:
                self.failed = job.exception
            self.pending -= 1
            self.changed.notify()

    def is_over(self):
        """Say whether there is nothing left to wait for."""
        return self.hit is not None or self.failed is not None


def search_all(ciphertext, crib, ring_settings):
    """Try all orders of rotors for each ring setting in turn; return rotors, rings and start of the first hit."""
    search = Search()
    cluster = dispy.JobCluster(find_start, job_status=search.job_status)
    for rings, rotors in product(ring_settings, ROTOR_ORDERS):
        with search.changed:
            search.changed.wait_for(lambda: search.is_over() or search.pending < PENDING)
            if search.is_over():
                break
            search.pending += 1
        cluster.submit_job_id((rotors, rings), rotors, rings, ciphertext, crib)
    with search.changed:
        search.changed.wait_for(lambda: search.is_over() or not search.pending)
    cluster.print_status()
    cluster.close(timeout=0, terminate=True)  # what still runs is not needed any more
    if search.failed and not search.hit:
        sys.exit(f"a job failed: {search.failed}")
    return search.hit


def report(hit):
    """Print what was found."""
    print("rotors {}, rings {}, start {}".format(*hit) if hit else "no setting found")


def letters_only(text):
    """Return a text as the Enigma knew it: capital letters without spaces."""
    letters = text.replace(" ", "").upper()
    if not letters.isalpha() or not letters.isascii():
        sys.exit(f"{text!r} has characters that the Enigma did not have; use letters only.")
    return letters


if __name__ == "__main__":
    import dispy

    if len(sys.argv) != 3:
        sys.exit("usage: enigma_bf_efficient.py CIPHERTEXT CRIB")
    report(search_all(letters_only(sys.argv[1]), letters_only(sys.argv[2]), ALL_RINGS))
