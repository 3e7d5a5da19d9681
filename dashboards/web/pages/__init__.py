"""The pages, in the order of the navigation. Each module has a `PAGE`; a new page is a module and one line here."""

from __future__ import annotations

from importlib import import_module

from dashboards.web.pages.base import Page

MODULES = (
    "dashboards.web.pages.runs",
    "dashboards.web.pages.funnel",
    "dashboards.web.pages.samples",
    "dashboards.web.pages.thresholds",
    "dashboards.web.pages.duplicates",
    "dashboards.web.pages.search",
    "dashboards.web.pages.rights",
    "dashboards.web.pages.audit",
    "dashboards.web.pages.training",
    "dashboards.web.pages.generated",
    "dashboards.web.pages.health",
)


def load_pages() -> tuple[Page, ...]:
    """Return the pages of the dashboard."""
    return tuple(import_module(name).PAGE for name in MODULES)
