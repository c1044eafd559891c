"""Break an Enigma message: asks for the ciphertext, the crib and the ring settings, and finds rotors and start.

    python3 bruteforce_octapi.py

Try YJPYITREDSYUPIU, which says THISXISXWORKING, with rings 1 1 1.
"""

import sys
import threading
from itertools import permutations, product

ROTOR_ORDERS = [" ".join(order) for order in permutations(("I", "II", "III", "IV", "V"), 3)]
#: how many jobs may be pending
PENDING = 32


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

    ciphertext = letters_only(input("Ciphertext: "))
    crib = letters_only(input("Crib (what it is known to say): "))
    rings = input("Ring settings (such as 1 1 1): ").strip() or "1 1 1"
    report(search_all(ciphertext, crib, [rings]))
