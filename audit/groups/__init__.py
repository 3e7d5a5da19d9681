"""Groups: how the audit tells samples apart, from words, places, sources, columns and labels; never from faces."""

from audit.groups.assign import Assigner, Membership, check_labels
from audit.groups.base import MIXED, WITHOUT_LABELS, Group, NotMeasured, not_measured
from audit.groups.places import Reference, reference, un_population

__all__ = [
    "MIXED",
    "WITHOUT_LABELS",
    "Assigner",
    "Group",
    "Membership",
    "NotMeasured",
    "Reference",
    "check_labels",
    "not_measured",
    "reference",
    "un_population",
]
