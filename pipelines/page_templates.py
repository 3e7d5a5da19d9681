"""The Jinja environment of every page that Assay writes or serves."""

from __future__ import annotations

import jinja2


def page_templates(package: str) -> jinja2.Environment:
    """Return the templates in a package's folder `templates`.

    All values are escaped, since captions and metadata are hostile; a name that is not there is an error.
    """
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
