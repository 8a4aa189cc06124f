"""Makes parameters of only those rows of a word-piece table that training uses.

A multilingual table has 120,000 to 250,000 rows; training text in one language uses a tenth of them. The other rows'
gradient is 0 at every step, and an optimiser without weight decay never moves them: leaving them out of gradients,
optimiser state and communication between processes changes nothing but the order of sums.
"""

from collections.abc import Callable, Iterable
from typing import TypeGuard

import torch
from torch import Tensor, nn


class UsedRowsEmbedding(nn.Embedding):
    """An embedding whose `weight` is fixed except for the rows in `used`, which are the parameter `rows`.

    In training only the used rows can be looked up, and any other id raises IndexError; on CUDA that is a device-side assert,
    after which the process cannot use the GPU any more. In evaluation every id is found. ``state_dict`` is that of the plain
    embedding, with all rows as they are now. The indices are not registered as buffers, because callbacks that average weights
    average buffers too.

    Args:
        table: the plain embedding; its weight is shared, not copied.
        used: ids of the rows, in any order; the padding row is added.

    Attributes:
        rows: [n_used, width], the rows that training moves.
        used: [n_used] int64, ascending.
        position: [num_embeddings] int64, place of each id in `rows`, -1 where it is not among them.
    """

    def __init__(self, table: nn.Embedding, used: Iterable[int]) -> None:
        ids = {int(row) for row in used} | ({table.padding_idx} - {None})
        n_rows, width = table.weight.shape
        super().__init__(n_rows, width, padding_idx=table.padding_idx, _weight=table.weight, _freeze=True)
        device = self.weight.device
        self.used = torch.tensor(sorted(ids), device=device)
        self.position = torch.full((self.num_embeddings,), -1, device=device)
        self.position[self.used] = torch.arange(len(ids), device=device)
        self.rows = nn.Parameter(self.weight.detach()[self.used].clone())
        self._padding_row = None if self.padding_idx is None else int(self.position[self.padding_idx])
        self.train(table.training)

    def forward(self, ids: Tensor) -> Tensor:
        """Look up ``[...]`` int64 ids: ``[..., width]``."""
        position = self.position[ids]
        if self.training and torch.is_grad_enabled():
            return nn.functional.embedding(position, self.rows, self._padding_row)
        moved = nn.functional.embedding(position.clamp(min=0), self.rows)
        return torch.where((position >= 0).unsqueeze(-1), moved, nn.functional.embedding(ids, self.weight))

    def plain(self) -> nn.Embedding:
        """Make the plain embedding with the rows as they are now; it shares its weight with this one."""
        self._write_back()
        n_rows, width = self.weight.shape
        table = nn.Embedding(n_rows, width, padding_idx=self.padding_idx, _weight=self.weight)
        table.weight.requires_grad_(self.rows.requires_grad)
        return table.train(self.training)

    @torch.no_grad()
    def _write_back(self) -> None:
        self.weight[self.used] = self.rows

    def _apply(self, fn: Callable, recurse: bool = True) -> "UsedRowsEmbedding":
        """Move the indices to the device of the parameters, without changing their type."""
        super()._apply(fn, recurse)
        self.used, self.position = (index.to(self.rows.device) for index in (self.used, self.position))
        return self

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        self._write_back()
        super()._save_to_state_dict(destination, prefix, keep_vars)
        del destination[f"{prefix}rows"]

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *arguments) -> None:
        weight = state_dict.get(f"{prefix}weight")
        if weight is not None and weight.shape == self.weight.shape:  # else the plain check below speaks up
            state_dict[f"{prefix}rows"] = weight[self.used.to(weight.device)]
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def can_leave_out_rows(table: nn.Module) -> TypeGuard[nn.Embedding]:
    """Whether `table` is an embedding that trains and looks up rows as they are, without scaling or renormalising them."""
    if type(table) is not nn.Embedding or table.max_norm is not None:
        return False
    return not table.scale_grad_by_freq and not table.sparse and table.weight.requires_grad
