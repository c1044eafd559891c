"""Break an Enigma message by brute force, the plain dispy way: a job for each order of rotors.

    python3 enigma_bf_canonical.py CIPHERTEXT CRIB RINGS

RINGS are the ring settings, such as "1 1 1".  All jobs are submitted, then all are collected.
"""

import sys
from itertools import permutations

ROTOR_ORDERS = [" ".join(order) for order in permutations(("I", "II", "III", "IV", "V"), 3)]


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


def letters_only(text):
    """Return a text as the Enigma knew it: capital letters without spaces."""
    letters = text.replace(" ", "").upper()
    if not letters.isalpha() or not letters.isascii():
        sys.exit(f"{text!r} has characters that the Enigma did not have; use letters only.")
    return letters


if __name__ == "__main__":
    import dispy

    if len(sys.argv) != 4:
        sys.exit('usage: enigma_bf_canonical.py CIPHERTEXT CRIB RINGS  (such as "1 1 1")')
    ciphertext, crib, rings = letters_only(sys.argv[1]), letters_only(sys.argv[2]), sys.argv[3]
    cluster = dispy.JobCluster(find_start)
    jobs = []
    for rotors in ROTOR_ORDERS:
        job = cluster.submit(rotors, rings, ciphertext, crib)
        job.id = rotors
        jobs.append(job)
    hits = [f"rotors {job.id}, rings {rings}, start {job.result}" for job in jobs if job()]
    failed = [job for job in jobs if job.status != dispy.DispyJob.Finished]
    if failed:
        sys.exit(f"{len(failed)} jobs failed; the first one: {failed[0].exception}")
    print("\n".join(hits) or "no setting found")
    cluster.print_status()
