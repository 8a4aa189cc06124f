"""Measures impact by another pooling than the main one, in the same passes."""

from xling.callbacks.impact import ImpactMonitor


class OtherPoolingMonitor(ImpactMonitor):
    """An :class:`~xling.callbacks.impact.ImpactMonitor` beside the main one: its logged keys and its state have names of their own.

    Logs ``cka_<pooling>/<loader>/<layer>``. Everything else is as there.
    """

    @property
    def logged_as(self) -> str:
        """First part of the keys that are logged."""
        return f"cka_{self.pooling_name}"

    @property
    def state_key(self) -> str:
        """Name of its state in checkpoints, which must differ between poolings."""
        return f"{type(self).__qualname__}[{self.pooling_name}]"
