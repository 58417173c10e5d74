"""Types of the arrays that the routers compute with. The shape and the unit of an array stand in the docstring of its owner."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
"""Real numbers of any precision."""
Float32s = NDArray[np.float32]
Ints = NDArray[np.intp]
"""Indices and counts."""
Bools = NDArray[np.bool_]
