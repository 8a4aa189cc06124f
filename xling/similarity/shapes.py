"""Names tensors of frequent shapes and types; elsewhere a signature states its own: ``Annotated[Tensor, "[n, k] float64"]``.

Within one call a name such as n stands for one length, ``...`` for the leading dimensions (layers), ``_`` for any length. The
tests check that what a function takes and gives is what its signature states (tests/shape_checks.py); otherwise nobody reads
these annotations, and they cost nothing.
"""

from typing import Annotated

from torch import Tensor

Scalar = Annotated[Tensor, "[] float64"]
"""A single number."""
RowsX = Annotated[Tensor, "[n, d_x] float"]
"""One layer of the base: a row per example."""
RowsY = Annotated[Tensor, "[n, d_y] float"]
"""One layer of the other side, the same examples in the same order."""
LayersX = Annotated[Tensor, "[..., n, d_x] float"]
"""Any number of layers of the base."""
LayersY = Annotated[Tensor, "[..., n, d_y] float"]
"""The same layers of the other side."""
StackX = Annotated[Tensor, "[L, n, d_x] float"]
"""Layers of the base, their own dimensions flattened into one."""
StackY = Annotated[Tensor, "[L, n, d_y] float"]
"""The same layers of the other side."""
ShiftX = Annotated[Tensor, "[L, d_x] float"]
"""A vector per layer that is subtracted from every row of the base before it is multiplied."""
ShiftY = Annotated[Tensor, "[L, d_y] float"]
"""The same for the other side."""
Ids = Annotated[Tensor, "[n] int"]
"""An id per row: of its group, or of its example."""
PerLayer = Annotated[Tensor, "[...] float64"]
"""A number per layer."""
PerGroup = Annotated[Tensor, "[G] float64"]
"""A number per group."""
PerRow = Annotated[Tensor, "[n] float64"]
"""A number per row."""
