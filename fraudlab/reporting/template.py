"""The templates of pages: every value escaped, none missing, nothing loaded from elsewhere."""

from pathlib import Path

import jinja2


def environment() -> jinja2.Environment:
    """What finds and fills the templates of this folder; a page adds functions of its own to it."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
