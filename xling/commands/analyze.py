"""The command ``xling-analyze`` (and ``python analyze.py``), which makes a study's tables, figures and report from its runs."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import hydra
from omegaconf import DictConfig

from xling.analysis.claims import read_claims
from xling.analysis.inputs.gather import (
    add_controls,
    add_distances,
    add_more_distances,
    add_other_distances,
    add_strata,
    gather_csv,
    gather_csvs,
    gather_studies,
)
from xling.analysis.inputs.measurements import Measurements, Resampling, Settings
from xling.analysis.inputs.probes import supply_probes
from xling.analysis.pipeline import analyse
from xling.analysis.questions.comparison import AnalysedStudy, compare_studies
from xling.analysis.questions.suggestion import make_suggestion, save_suggestion
from xling.analysis.schema import Analysis
from xling.commands import start
from xling.commands.unchanged import RECORD_FILE, record_analysis
from xling.distances import Distances
from xling.errors import XlingValueError
from xling.storage.swapping import swapped_in, unique_folders

log = logging.getLogger(__name__)

SUGGESTION_FILE = "suggestion.json"
STUDIES_FILE = ".studies.txt"
"""Names the folders of a comparison, a line each, so that the next analysis into the same folder removes them."""

_PAGE = "report.html"
_ENDINGS = {"tables": (".csv", ".tex"), "figures": (".png", ".pdf")}


def analyze(
    distances: Callable[..., Distances],
    output_dir: Path | str,
    runs: Path | str | Sequence[Path | str] | None = None,
    transfer_csv: Path | str | Sequence[Path | str] | None = None,
    controls: Collection[str] = (),
    pretraining_size: Path | str | None = None,
    settings: Settings | None = None,
    more_distances: Mapping[str, Path | str] | None = None,
    swap_languages: bool = False,
    permute_within: str | None = None,
    min_coverage: int = 0,
    allow_mixed: Collection[str] = (),
    key: str | None = None,
    specification_distances: Collection[str] = (),
) -> Analysis:
    """Analyse a study, several side by side, or accuracies from elsewhere; write tables, suggestion, figures and report.

    Args:
        distances: called with ``languages=[...]``, e.g. ``partial(xling.distances.compute_distances, KINDS)``, or with
            what :func:`xling.analysis.inputs.probes.supply_probes` takes from the study.
        output_dir: receives ``tables/*.csv``, ``suggestion.json`` (where impact was tested against distance) and what
            :func:`xling.report.write_report` writes; of several studies what
            :func:`xling.report.sections.comparison.write_comparison` writes, and a folder of the former kind for each.
        runs: folder of a study, or of several, or a list of such folders; this or `transfer_csv`. Studies are never
            pooled: more than one are compared.
        transfer_csv: see :func:`xling.analysis.inputs.external.read_transfer`; of a list, each is a study by itself, and they
            are compared.
        controls: see :func:`xling.analysis.inputs.gather.add_controls`.
        pretraining_size: see :func:`xling.analysis.inputs.gather.add_controls`.
        settings: mode, strategy, validation and resampling; None = the defaults.
        permute_within: see :func:`xling.analysis.inputs.gather.add_strata`.
        min_coverage: fewest features behind a typological distance; a pair with fewer has none.
        allow_mixed: settings and facts in which the runs of one study may differ besides source, strategy and seed, e.g.
            ``versions.torch`` or ``optimizer``; see :func:`xling.runs.comparable.check_comparable`.
        swap_languages: read the source's column of `transfer_csv` as the target's and the reverse.
        key: what all of this is made from (:func:`xling.commands.unchanged.analysis_key`), to be recorded beside the files; None:
            it is not known, and nothing is recorded.
        specification_distances: sources that the specification curve sets beside `distances`, see
            :func:`xling.analysis.inputs.gather.add_other_distances`.
        more_distances: name -> table, see :func:`xling.analysis.inputs.gather.add_more_distances`.

    Returns:
        The analysis that was written, or the comparison.

    Raises:
        XlingError: an input is missing or does not fit, or nothing is left to analyse.
    """
    if (runs is None) == (transfer_csv is None):
        found = "neither" if runs is None else "both"
        raise XlingValueError(f"expected runs=DIR (a study) or transfer_csv=FILE, found {found}; give one of them")
    settings = settings or Settings()
    of_distances = (distances, min_coverage, more_distances or {}, specification_distances)
    options = (*of_distances, controls, pretraining_size, settings)
    if transfer_csv is not None and isinstance(transfer_csv, Path | str):
        measured, sentences = gather_csv(transfer_csv, swap_languages)
        studies = {"": measured}
    elif transfer_csv is not None:
        studies, sentences = gather_csvs(list(transfer_csv), swap_languages)
    else:
        studies, sentences = gather_studies([runs] if isinstance(runs, Path | str) else list(runs or ()), allow_mixed)
    log.info("Read %s", runs if transfer_csv is None else transfer_csv)
    studies = {name: add_strata(measured, permute_within) for name, measured in studies.items()}
    with swapped_in(output_dir, _outputs_in(Path(output_dir)), _PAGE) as scratch:
        if len(studies) > 1:
            analysis = _compare(studies, sentences, scratch, options)
        else:
            analysis = _analyse(studies.popitem()[1], sentences, *options).analysis
            _write(analysis, scratch, settings)
        if key is not None:
            record_analysis(scratch, key)
    if (Path(output_dir) / SUGGESTION_FILE).is_file():
        log.info("Layers to freeze: %s", Path(output_dir) / SUGGESTION_FILE)
    log.info("Report: %s", Path(output_dir) / _PAGE)
    return analysis


def _outputs_in(folder: Path) -> Callable[[Path], bool]:
    """Give a rule that tells an earlier analysis's files, relative to `folder`, from those of others."""
    studies = folder / STUDIES_FILE
    names = set(studies.read_text(encoding="utf-8").split("\n")) if studies.is_file() else set()

    def is_output(path: Path) -> bool:
        parts = path.parts[1:] if path.parts[0] in names else path.parts
        if len(parts) == 1:
            return parts[0] in (_PAGE, SUGGESTION_FILE, STUDIES_FILE, RECORD_FILE)
        return len(parts) == 2 and path.suffix in _ENDINGS.get(parts[0], ())

    return is_output


def _analyse(
    measured: Measurements,
    sentences: list[str],
    distances: Callable[..., Distances],
    min_coverage: int,
    more_distances: Mapping[str, Path | str],
    specification_distances: Collection[str],
    controls: Collection[str],
    pretraining_size: Path | str | None,
    settings: Settings,
) -> AnalysedStudy:
    first_run = None if measured.runs is None else measured.runs["path"].iloc[0]
    measured, of_distances = add_distances(measured, supply_probes(distances, first_run), min_coverage)
    measured = add_other_distances(measured, specification_distances, first_run, min_coverage)
    measured, of_more = add_more_distances(measured, more_distances)
    measured, of_controls = add_controls(measured, controls, pretraining_size)
    analysis = analyse(measured, settings)
    analysis = replace(
        analysis, warnings=[*measured.mixed, *sentences, *of_distances, *of_more, *of_controls, *analysis.warnings]
    )
    for sentence in analysis.warnings:
        log.warning("note: %s", sentence)
    return AnalysedStudy(
        measured.distances, analysis
    )  # without the measurements, which are large and not needed any more


def _compare(studies: Mapping[str, Measurements], sentences: list[str], output_dir: Path, options: tuple) -> Analysis:
    """Analyse and write each study by itself, then all side by side."""
    from xling.report.sections.comparison import write_comparison

    settings = options[-1]
    if settings.mode == "paper":
        raise XlingValueError("mode=paper tests nothing that could be compared; set mode=default or both")
    log.info("Comparing %d studies: %s", len(studies), ", ".join(studies))
    folders = unique_folders(list(studies), reserved=("tables", "figures"))
    analysed = {}
    for name, measured in studies.items():
        log.info("Study %s", name)
        analysed[name] = _analyse(measured, [], *options)
        _write(analysed[name].analysis, output_dir / folders[name], settings)
    comparison = compare_studies(analysed, settings.resampling)
    comparison = replace(comparison, warnings=[*sentences, *comparison.warnings])
    write_comparison(comparison, output_dir, settings.resampling.workers)
    (output_dir / STUDIES_FILE).write_text("\n".join(folders.values()) + "\n", encoding="utf-8")
    return comparison


def _write(analysis: Analysis, output_dir: Path, settings: Settings) -> None:
    from xling.report import write_report  # slow to import, and a wrong input should not wait for it

    name = analysis.facts["study"]
    if name and "correlations" in analysis.tables:
        save_suggestion(output_dir / SUGGESTION_FILE, make_suggestion(analysis.tables["correlations"], name))
    log.info("Drawing the report")
    write_report(analysis, output_dir, settings.sections, settings.resampling.workers)


def analyze_config(config: DictConfig, key: str | None = None) -> Analysis:
    """Analyse what a composed configuration (``conf/analyze.yaml``) asks for; see :func:`analyze`, also for `key`."""
    resampling = Resampling(config.permutations, config.bootstraps, config.seed, config.workers)
    return analyze(
        hydra.utils.instantiate(config.distances, _convert_="all"),
        config.output_dir,
        _paths(config.runs),
        _paths(config.transfer_csv),
        list(config.controls),
        config.pretraining_size,
        Settings(
            config.mode,
            config.strategy,
            config.epoch,
            config.step,
            config.measure,
            resampling,
            tuple(config.sections),
            read_claims(config.claims_from) if config.claims_from else (),
            config.above_chance,
        ),
        dict(config.more_distances or {}),
        config.swap_languages,
        config.permute_within,
        config.min_coverage,
        list(config.allow_mixed),
        key,
        list(config.specification_distances),
    )


def _paths(given: str | Sequence[str] | None) -> str | list[str] | None:
    return given if given is None or isinstance(given, str) else list(given)


def main() -> None:
    """Run the command."""
    start.analyze()


if __name__ == "__main__":
    main()
