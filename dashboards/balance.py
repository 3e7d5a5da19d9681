"""The balance in words: what the recipe asks of it, and what it came to."""

from __future__ import annotations

from typing import Any

from audit.findings import percent
from dashboards.text import number
from pipelines.jobs.decide_balance import read_statement
from pipelines.run.directory import Run
from pipelines.run.recipe_balance import Balance


def steps_in_words(balance: Balance | None) -> list[str]:
    """Return the steps of the balance, in their order, in words."""
    if balance is None:
        return []
    found = [f"at most {number(balance.cap)} of each {balance.by}"] if balance.cap else []
    if balance.concepts:
        found.append(f"MetaCLIP caps of about {balance.concepts.t:g} on {balance.concepts.group}")
    if balance.temperature:
        found.append(f"{balance.temperature.group} in proportion to n^{balance.temperature.tau:g}")
    for group, quota in balance.quotas.items():
        least = ", ".join(f"{value} {share:.3g}" for value, share in quota.min.items())
        found.append(
            f"{group}: shares of at least {least}" if least else f"{group}: as many {' as '.join(quota.parity)}"
        )
    if balance.by_group:
        found.append(f"weights by {', '.join(balance.by_group)}")
    if balance.rake:
        found.append(f"raked to shares of {', '.join(balance.rake.margins)}")
    if balance.moments:
        found.append(f"moments matched for {', '.join(balance.moments.targets)}")
    return found


def outcome_in_words(run: Run) -> str:
    """Return what the balance cost and what it could not reach; empty where there was none.

    It says so where the statement is of the dataset before its opt-outs were applied.
    """
    read = read_statement(run)
    if read is None:
        return ""
    body, current = read
    samples, weights = body["samples"], body["weights"]
    found = [f"{number(samples['dropped'])} of {number(samples['before'])} samples left out"]
    for step in body["steps"]:
        for quota in step.get("quotas", []):
            found += _missed(quota)
    if weights["method"] != "none" and weights["ess_share"] is not None:
        found.append(f"weights leave {percent(weights['ess_share'])} of the samples' worth (Kish)")
    if weights["converged"] is False:
        found.append("the weights do NOT reach all targets")
    if not current:
        found.append("before later opt-outs")
    return "; ".join(found)


def _missed(quota: dict[str, Any]) -> list[str]:
    """Return a sentence for a quota that was not reached."""
    if quota["reached"]:
        return []
    short = ", ".join(f"{value} comes to {percent(share)}" for value, share in quota["short"].items())
    absent = f"nobody has {', '.join(quota['absent'])}" if quota["absent"] else ""
    why = "; ".join(part for part in (short, absent) if part) or "the quotas contradict each other"
    return [f"quota of {quota['group']} NOT reached: {why}"]
