"""Writes the page's title and first paragraphs, for readers who do not know the study."""

from xling.analysis.schema import Analysis
from xling.report.words.lookup import has_impact, metric_name
from xling.report.words.numbers import plural


def page_title(analysis: Analysis) -> str:
    """Make a title of study, data set and encoder; empty where they are not known."""
    about = analysis.facts.get("subject")
    return (
        f"{analysis.facts['study']}: {about['encoder'].partition(' (')[0]} on {about['data_set'].partition(',')[0]}"
        if about
        else ""
    )


def subject(analysis: Analysis) -> list[str]:
    """Say what was trained on what, and what is measured; an analysis of scores without runs only says the latter."""
    facts, about = analysis.facts, analysis.facts.get("subject")
    paragraphs = []
    if about:
        strategies = facts.get("strategies", [])
        frozen = f", {len(strategies)} strategies (which layers were frozen or changed)" if len(strategies) > 1 else ""
        sources, targets = (plural(len(facts[key]), f"{key[:-1]} language") for key in ("sources", "targets"))
        paragraphs.append(
            f"Study “{facts['study']}”: the encoder {about['encoder']} was fine-tuned on {about['data_set']} ({about['task']}) in "
            f"each of {sources} and evaluated in {targets}, without any of their labels; {plural(int(about['n_runs']), 'run')}, "
            f"{plural(len(facts['seeds']), 'seed')}{frozen}, finished {about['finished']}."
        )
    if has_impact(analysis):
        paragraphs.append(
            "Impact is how far fine-tuning moved the vectors of a language at a layer: 1 minus the similarity (CKA) of the same "
            f"sentences’ vectors before and after, 0 = not at all. Transfer is the {metric_name(analysis)} in a language without "
            "labels of it. Below: what this study shows of their relation to each other and to the distance between languages, in "
            "sentences first, then in figures, then in tests."
        )
    return paragraphs
