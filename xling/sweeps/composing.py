"""Composes hundreds of jobs of a sweep quickly: files that several jobs choose are read and merged once for all of them."""

import copy
import re
from collections.abc import Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from xling.machine.private import apply_overrides, is_group

_OF_THE_JOB = re.compile(r"\$\{hydra:(?!runtime\.choices\.\w+\})")
"""Matches settings that refer to more of a job than the files it chose; where there are any, each job is composed by itself."""


class SweepComposer:
    """Composes the jobs of one sweep as Hydra's ``load_sweep_config`` does, except for the job's overrides in the node ``hydra``.

    Hydra first merges the chosen files, and then sets the values that the command line names, in order. The first half is the
    same for all jobs that choose the same files, and takes nearly all of the time.

    Args:
        loader: Hydra's loader of configurations.
        config: configuration of the sweep, with Hydra's own node.
    """

    def __init__(self, loader: ConfigLoader, config: DictConfig) -> None:
        self.loader, self.config = loader, config
        self.parser = OverridesParser.create(config_loader=loader)
        self.bases: dict[tuple[str, ...], DictConfig | None] = {}

    def compose(self, job: Sequence[str]) -> DictConfig:
        """Compose one job.

        Args:
            job: overrides of the job, as Hydra's sweeper has separated them.

        Raises:
            HydraException: the overrides cannot be composed.
        """
        overrides = self.parser.parse_overrides(list(job))
        values = [override for override in overrides if not self._chooses_a_file(override)]
        base = self._base(tuple(str(o.input_line) for o in overrides if o not in values))
        if base is None or any(_OF_THE_JOB.search(line) for line in job):
            return self.loader.load_sweep_config(self.config, list(job))
        composed = copy.deepcopy(base)
        apply_overrides(values, composed)
        return composed

    def _chooses_a_file(self, override: Override) -> bool:
        return is_group(self.loader, override.key_or_group) and not isinstance(override.value(), dict)

    def _base(self, choices: tuple[str, ...]) -> DictConfig | None:
        """Compose what all jobs share that choose these files; None where that cannot be known beforehand."""
        if self.config.hydra.searchpath:  # files from elsewhere may add groups
            return None
        if choices not in self.bases:
            base = self.loader.load_sweep_config(self.config, list(choices))
            settings = OmegaConf.masked_copy(base, [str(key) for key in base if key != "hydra"])
            self.bases[choices] = None if _OF_THE_JOB.search(OmegaConf.to_yaml(settings)) else base
        return self.bases[choices]
