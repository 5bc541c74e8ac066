"""What an input or output of a compiled model is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir import Extent, TensorType
from ..ir.data_type import numpy_type


@dataclass(frozen=True, slots=True)
class Spec:
    """Name, element type and shape of an input or output."""

    name: str
    dtype: str
    shape: tuple[Extent, ...]

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy type of the elements."""
        return numpy_type(self.dtype)

    @property
    def type(self) -> TensorType:
        """The element type and shape together."""
        return TensorType(self.dtype, self.shape)
