"""What each metric of a finding means, by its formula and source; `docs/audit-metrics.md` is made from here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MetricFact:
    """One metric: a sentence, a formula, how its interval is made, and who proposed it."""

    meaning: str
    formula: str
    interval: str
    source: str


_WILSON = "Wilson"
_DELTA = "delta method"

#: By the name that findings use, in the order of an audit's sections.
METRICS = {
    "coverage": MetricFact("How many samples have a value of the group at all.", "known / n", _WILSON, "Wilson 1927"),
    "share": MetricFact("A value's share of the samples that have one.", "n_g / known", _WILSON, "Wilson 1927"),
    "rate": MetricFact("How many captions have a word of a lexicon.", "k / n", _WILSON, "Wilson 1927"),
    "entropy": MetricFact(
        "How even the shares are: 1 all the same, 0 one has all.", "H / ln(values)", _DELTA, "Basharin 1959"
    ),
    "effective_number": MetricFact("As spread as so many equal values.", "exp(H)", _DELTA, "Hill 1973"),
    "concentration": MetricFact("1 where one value has all.", "sum p^2", _DELTA, "Hirschman 1964"),
    "gini": MetricFact("Inequality of samples a value.", "Gini coefficient", "none", "Gini 1912"),
    "disparity_ratio": MetricFact(
        "A share over what the reference says: 1 parity.", "p_g / r_g", "Wilson over r_g", "exact binomial test"
    ),
    "kl": MetricFact("Distance from the reference, in bits.", "sum p log2(p / r)", _DELTA, "Kullback & Leibler 1951"),
    "js": MetricFact("The same, from 0 to 1.", "Jensen-Shannon divergence, base 2", _DELTA, "Lin 1991"),
    "total_variation": MetricFact(
        "Samples that would have to change value.", "sum |p - r| / 2", _DELTA, "Levin & Peres"
    ),
    "pass_rate": MetricFact("What a rule, or all, let through.", "k_g / n_g", _WILSON, "Wilson 1927"),
    "disparate_impact": MetricFact(
        "A value's pass rate over the best one's; below 0.8 the four-fifths rule speaks.",
        "(k_g / n_g) / (k_b / n_b)",
        "Katz log; MOVER-R where none or all pass; whole domains, creators or clusters where `resample` asks",
        "EEOC 1978; Katz et al. 1978",
    ),
    "amplification": MetricFact(
        "A value's share after over before: below 1 it lost ground.",
        "p_after / p_before",
        "from that of the ratio to all others",
        "Hong et al. 2024",
    ),
    "step_ratio": MetricFact(
        "Pass rate at one step over that of all others that reach it.",
        "as above, step by step",
        "as above",
        "chain rule",
    ),
    "trend": MetricFact(
        "Change of the pass rate for one step of an ordered group.",
        "weighted slope",
        "group variances",
        "Cochran 1954, Armitage 1955",
    ),
    "npmi_gap": MetricFact(
        "Whether a concept goes with one value rather than the other.",
        "nPMI(c, g1) - nPMI(c, g2)",
        _DELTA,
        "Bouma 2009; Aka et al. 2021",
    ),
    "share_given": MetricFact(
        "A value's share among a concept's captions.", "P(g | c, either)", _WILSON, "score or exact test"
    ),
    "log_odds": MetricFact(
        "Odds within the concept over elsewhere, in powers of 2.", "log2 OR", "Woolf", "Woolf 1955"
    ),
    "cramers_v": MetricFact(
        "Association of all concepts: 0 none, 1 complete.",
        "bias-corrected V",
        "noncentral chi-squared",
        "Bergsma 2013",
    ),
    "residual": MetricFact(
        "A cross that is fuller or emptier than its margins say.",
        "adjusted standardised residual",
        "none (z)",
        "Haberman 1973",
    ),
    "skew": MetricFact(
        "Share at the top of a ranking over the share of all.", "ln(p_top / p)", _WILSON, "Geyik et al. 2019"
    ),
    "ndkl": MetricFact("The same over every prefix.", "sum KL / log2(i + 1) / Z", "none", "Geyik et al. 2019"),
    "unread_captions": MetricFact(
        "Captions in a language that no lexicon of the audit reads.", "k / known", _WILSON, "language as detected"
    ),
}
