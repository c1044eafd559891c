"""How many threads numerical libraries may start in one process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from octapi.device import limits

if TYPE_CHECKING:
    from collections.abc import Mapping

#: what OpenMP, OpenBLAS, MKL, BLIS, Accelerate, numexpr, numba, Polars and Julia's BLAS read when they are loaded
VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
)


def library_threads(slots: int, cores: int | None = None, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables that divide this device's cores among so many slots, without those that somebody has set.

    Each library would start as many threads as there are cores, in every slot.  ``cores`` are those of this device, and
    ``given`` its environment, unless they are told.
    """
    share = max(1, (limits.cores() if cores is None else cores) // max(1, slots))
    environment = os.environ if given is None else given
    return {name: str(share) for name in VARIABLES if name not in environment}
