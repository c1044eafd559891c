"""Break an Enigma message by brute force, the modern way: map, and stop at the first hit.

    python3 enigma_bf_octapi.py CIPHERTEXT CRIB [RINGS]
"""

import sys
from itertools import repeat

import octapi

from enigma_bf_standalone import ROTOR_ORDERS, find_start, letters_only

if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: enigma_bf_octapi.py CIPHERTEXT CRIB [RINGS]")
    ciphertext, crib = letters_only(sys.argv[1]), letters_only(sys.argv[2])
    rings = sys.argv[3] if len(sys.argv) == 4 else "1 1 1"
    with octapi.Cluster() as cluster:
        starts = cluster.map(find_start, ROTOR_ORDERS, repeat(rings), repeat(ciphertext), repeat(crib))
        hit = next(((rotors, start) for rotors, start in zip(ROTOR_ORDERS, starts) if start), None)
        starts.close()
    print(f"rotors {hit[0]}, rings {rings}, start {hit[1]}" if hit else "no setting found")
