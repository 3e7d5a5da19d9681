"""A client of the real application, and a caption that means harm."""

from fastapi.testclient import TestClient

from dashboards.web.app import create_app
from dashboards.web.settings import Settings

HOSTILE = '<script>alert(1)</script> "onload=x \u202eevil\u202c \x07 &amp; {{ 7*7 }} <img src=x>'


def client_for(root, cache, **changes):
    """A client of the application over `root`; follows no redirects."""
    app = create_app(Settings(root, cache=cache, patience=60, **changes))
    return TestClient(app, base_url=f"http://127.0.0.1:{8321}", follow_redirects=False)
