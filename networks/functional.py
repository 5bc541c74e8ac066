"""Functions for ``construct``, as MindSpore's ``ops`` has them: operators applied to tensors.

They take symbolic tensors and parameters; arithmetic is also written with Python's operators.
"""

from __future__ import annotations

from .functional_elementwise import *  # noqa: F403
from .functional_movement import *  # noqa: F403
from .functional_reduction import *  # noqa: F403
from .functional_spatial import *  # noqa: F403
