"""Break an Enigma message by brute force, without a cluster: how long does it take on one core?

    python3 enigma_bf_standalone.py CIPHERTEXT CRIB [RINGS]

CRIB is what the message is known to say.  Known as well: reflector B, the plugboard, and the ring
settings (1 1 1 by default).  Unknown: which three of the five rotors, in which order, and their start.
"""

import sys
import time
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
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: enigma_bf_standalone.py CIPHERTEXT CRIB [RINGS]")
    ciphertext, crib = letters_only(sys.argv[1]), letters_only(sys.argv[2])
    rings = sys.argv[3] if len(sys.argv) == 4 else "1 1 1"
    started = time.time()
    for rotors in ROTOR_ORDERS:
        start = find_start(rotors, rings, ciphertext, crib)
        if start:
            print(f"rotors {rotors}, rings {rings}, start {start}: {time.time() - started:.1f} seconds on one core")
            break
    else:
        print(f"no setting found in {time.time() - started:.1f} seconds on one core")
