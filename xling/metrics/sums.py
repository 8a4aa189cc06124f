"""Keeps sums as the states of a torchmetrics metric, and adds them up over processes whose shifts may differ."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, Any, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from xling.errors import XlingValueError
from xling.similarity.marginal import Marginal
from xling.similarity.moments import check_rows
from xling.similarity.shapes import Ids, LayersX, LayersY


class Base(Protocol):
    """Sums over the base's rows alone, which are known before a comparison starts."""

    def to(self, device: torch.device | str) -> Self:
        """Give the same sums on `device`."""


class Sums(Protocol):
    """Sums over paired rows: :class:`xling.similarity.Moments` or :class:`xling.similarity.GroupedMoments`."""

    @property
    def n(self) -> Tensor:
        """Number of rows, or of groups, int64 scalar."""

    @property
    def sides(self) -> tuple[Marginal, Marginal]:
        """Sums over the rows (group means) of x and of y."""

    @property
    def layers(self) -> torch.Size:
        """The layers' own shape."""

    @classmethod
    def start(cls, x: Tensor, y: Tensor, base: Any = None) -> Self:
        """Make sums of no rows yet, with shifts from the first batch `x` and `y` or from the base's own sums `base`."""

    @classmethod
    def empty(cls, layers: tuple[int, ...], shift_x: Tensor, shift_y: Tensor, *, base_is_known: bool) -> Self:
        """Make sums of no rows yet, with given shifts."""

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Self:
        """Inverse of :meth:`tensors`."""

    def tensors(self) -> dict[str, Tensor]:
        """Give all sums by name."""


def _first(gathered: Tensor) -> Tensor:
    """Reduce the shifts of the processes, which are equal, because they agree on them before states are gathered."""
    return gathered[0]


KindT = TypeVar("KindT", bound=Sums)
BaseT = TypeVar("BaseT", bound=Base)


class SumsMetric(Metric, Generic[KindT, BaseT]):
    """A metric whose states are one kind of sums; subclasses name the kind, and say what to compute from it.

    The states take their shape from the first batch. Before they are summed over processes, every process re-centres
    its own to the mean over all of them; a process that met no rows takes part with zeros.

    Args:
        base: the base's own sums where they were computed before: then X'X is not summed again, and the metric must meet all the
            rows that these sums cover before it is evaluated.
        allow_tf32: whether a GPU may multiply in TF32.
        kwargs: further arguments of :class:`torchmetrics.Metric`.
    """

    full_state_update = True
    is_differentiable = False
    sums: type[KindT]

    def __init__(self, base: BaseT | None = None, allow_tf32: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.base = base
        self.allow_tf32 = allow_tf32
        zero = torch.zeros(1, 1)
        for name in self.sums.empty((1,), zero, zero, base_is_known=base is not None).tensors():
            self.add_state(name, torch.zeros(0), dist_reduce_fx=_first if name.endswith("shift") else "sum")

    @staticmethod
    @abstractmethod
    def merge(first: KindT, second: KindT) -> KindT:
        """Add the sums over different rows."""

    @staticmethod
    @abstractmethod
    def recentre(moments: KindT, shift_x: Tensor, shift_y: Tensor) -> KindT:
        """Move the sums to other shifts ``[L, d_x]`` and ``[L, d_y]``."""

    @abstractmethod
    def _add(self, x: Tensor, y: Tensor, groups: Tensor | None) -> None:
        """Add rows, at least one."""

    @property
    def moments(self) -> KindT | None:
        """The accumulated sums, which share the metric's storage; None before the first rows."""
        self._settle()
        return self._summed()

    @moments.setter
    def moments(self, moments: KindT) -> None:
        for name, value in moments.tensors().items():
            setattr(self, name, value)

    def _settle(self) -> None:
        """Add what was met and not summed yet to the sums; here nothing is."""

    def _summed(self) -> KindT | None:
        """Give what is summed so far; None where nothing is."""
        return self._restored({name: getattr(self, name) for name in self._own_states()})

    def _own_states(self) -> list[str]:
        """Names of the states that are sums."""
        return list(self._defaults)

    def _restored(self, states: dict[str, Tensor]) -> KindT | None:
        is_empty = any(not value.numel() for name, value in states.items() if name.endswith("shift"))
        return None if is_empty else self.sums.from_tensors(states)

    def reset_sums(self) -> None:
        """Set all sums back to nothing."""
        for name in self._own_states():
            setattr(self, name, self._default(name))

    def _default(self, name: str) -> Tensor:
        default = self._defaults[name]
        assert isinstance(default, Tensor)
        return default.detach().clone().to(self.device)

    def update(self, x: LayersX, y: LayersY, groups: Ids | None = None) -> None:
        """Add paired rows ``[..., b, d_x]`` and ``[..., b, d_y]``, any floating dtype.

        Args:
            x: base rows.
            y: other rows, the same examples in the same order.
            groups: group id of each row, ``[b]`` integers, which only a measure that knows groups uses; None: every row is a group
                by itself.

        Raises:
            XlingValueError: rows, layers, widths or ids do not fit each other or what was added before.
        """
        check_rows(x, y)
        if x.shape[-2]:
            self._add(x, y, groups)

    def _started(self, x: LayersX, y: LayersY) -> KindT:
        """Give the sums so far, or new ones with shifts from this first batch."""
        moments = self.moments
        if moments is None:
            self.base = None if self.base is None else self.base.to(x.device)
            moments = self.sums.start(x, y, self.base)
        return moments

    def whole(self) -> KindT | None:
        """Give the sums over all rows so far; None before the first rows."""
        return self.moments

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add the rows of another metric, or of a dict of its states, to this one.

        Raises:
            XlingValueError: the other metric is of another kind, layers or widths differ, or one was started with a base's sums and
                the other without.
        """
        states = self._checked(incoming_state)
        incoming = self._restored({name: states[name].clone() for name in self._own_states()})
        if incoming is not None:
            self._merge_sums(incoming)
            self._count_updates(incoming_state)

    def _merge_sums(self, incoming: KindT) -> None:
        self.moments = incoming if self.moments is None else self.merge(self.moments, incoming)

    def _count_updates(self, incoming_state: dict[str, Any] | Metric) -> None:
        self._update_count += incoming_state.update_count if isinstance(incoming_state, Metric) else 1
        self._computed = None

    def _checked(self, incoming_state: dict[str, Any] | Metric) -> dict[str, Any]:
        states = incoming_state.metric_state if isinstance(incoming_state, Metric) else incoming_state
        if states.keys() != self._defaults.keys():
            raise XlingValueError(
                f"expected the states of a metric like this one, {sorted(self._defaults)}, got {sorted(states)}; merge metrics of "
                "one measure, started with a base's sums or all without"
            )
        return states

    def sync(
        self,
        dist_sync_fn: Callable | None = None,
        process_group: Any = None,
        should_sync: bool = True,
        distributed_available: Callable | None = None,
    ) -> None:
        """Agree on common shifts, then sum the states over processes as torchmetrics does."""
        available = distributed_available or self.distributed_available_fn
        if should_sync and not self._is_synced and available is not None and available():
            gather, group = dist_sync_fn or gather_all_tensors, process_group or self.process_group
            self._agree(lambda tensor: gather(tensor, group=group))
        super().sync(dist_sync_fn, process_group, should_sync, distributed_available)

    def _agree(self, gather: Callable[[Tensor], list[Tensor]]) -> None:
        """Re-centre the states to the mean over all processes; `gather` collects one tensor from each."""
        layout = self._common_layout(gather)
        if layout is None:
            return
        is_double, d_x, d_y, *layers = layout
        moments = self.moments
        if moments is None:
            zeros = torch.zeros(torch.Size(layers).numel(), max(d_x, d_y), device=self.device)
            zeros = zeros.double() if is_double else zeros
            moments = self.sums.empty(
                tuple(layers), zeros[:, :d_x], zeros[:, :d_y], base_is_known=self.base is not None
            )
        n = torch.stack(gather(moments.n)).sum(0)
        shift_x, shift_y = (self._common_shift(side, n, gather) for side in moments.sides)
        self.moments = self.recentre(moments, shift_x, shift_y)

    def _common_shift(
        self, side: Marginal, n: Annotated[Tensor, "[] int64"], gather: Callable[[Tensor], list[Tensor]]
    ) -> Annotated[Tensor, "[L, d] float"]:
        """Compute the mean over the `n` rows of all processes, ``[L, d]``."""
        totals = gather(side.n * side.shift.double() + side.total)
        return (torch.stack(totals).sum(0) / n).to(side.shift.dtype)

    def _common_layout(self, gather: Callable[[Tensor], list[Tensor]]) -> list[int] | None:
        """Find the layout of the processes that met rows, see :func:`_layout`; None if none did.

        Raises:
            XlingValueError: their layouts differ.
        """
        layout = [-1] if self.moments is None else _layout(self.moments)  # [-1] stands for a process without rows
        layouts = {tuple(each.tolist()) for each in gather(torch.tensor(layout, device=self.device))} - {(-1,)}
        if len(layouts) > 1:
            raise XlingValueError(
                f"processes hold different [float64, d_x, d_y, layers...] {sorted(layouts)}; give all the same layers"
            )
        return list(layouts.pop()) if layouts else None


def _layout(moments: Sums) -> list[int]:
    """Describe the tensors of sums as numbers: whether they are float64 (1 or 0), d_x, d_y, and the layers' own shape."""
    x, y = moments.sides
    return [int(y.shift.dtype == torch.float64), x.shift.shape[-1], y.shift.shape[-1], *moments.layers]
