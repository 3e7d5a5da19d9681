"""The recipe's `fetch` section: who asks, how politely, and where it stops."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, Field, field_validator

#: A mail address or a web address, somewhere in printable ASCII without what would end a header's comment.
_CONTACT = re.compile(r"[ -~]*(?:[^\s@]+@[^\s@]+\.[^\s@]+|https?://[^\s/]+\.[^\s]+)[ -~]*\Z")


class Fetch(BaseModel):
    """How a URL list is downloaded. Limits a host hold in each worker process."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contact: str = Field(
        min_length=6,
        max_length=200,
        description="who runs this job: name and mail or web address; sent to every host in the user agent",
    )
    rows_per_part: int = Field(1000, ge=1, le=100_000, description="rows of the list a part")
    connections: int = Field(128, ge=1, le=4096, description="requests at once, all hosts together")
    per_host: int = Field(2, ge=1, le=64, description="requests at once to one host")
    delay_s: float = Field(
        0.1, ge=0, le=3600, allow_inf_nan=False, description="seconds between two requests to one host"
    )
    max_crawl_delay_s: float = Field(
        30,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="seconds of a robots.txt Crawl-delay that are obeyed at most",
    )
    deadline_s: float = Field(
        30,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="seconds for one picture from request to last byte, redirects included",
    )
    connect_s: float = Field(10, gt=0, le=600, allow_inf_nan=False, description="seconds for name, connection and TLS")
    redirects: int = Field(
        5, ge=0, le=20, description="redirects that are followed; each new host's policy is checked"
    )
    retries: int = Field(2, ge=0, le=10, description="further tries for what may pass: 429, 5xx, broken connections")
    backoff_s: float = Field(
        1.0, ge=0, le=600, allow_inf_nan=False, description="seconds before the first further try; doubles each time"
    )
    max_retry_after_s: float = Field(
        60,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="seconds of a Retry-After that are waited at most; more gives up",
    )
    give_up_after: int = Field(
        5, ge=1, le=1000, description="dead tries in a row after which a host's further rows fail at once"
    )
    ports: list[int] = Field([80, 443], min_length=1, description="ports that may be connected to")
    policy_hours: float = Field(
        24,
        ge=0,
        le=24,
        allow_inf_nan=False,
        description="hours for which a host's policies are kept (RFC 9309 §2.4: at most 24)",
    )
    policy_deadline_s: float = Field(
        20,
        gt=0,
        le=600,
        allow_inf_nan=False,
        description="seconds for one policy document; none in time means disallowed",
    )
    pages: bool = Field(
        False, description="fetch `page_url` too and read its HTML for reservations (one request more a picture)"
    )

    @field_validator("contact")
    @classmethod
    def _reachable(cls, contact: str) -> str:
        if not _CONTACT.match(contact) or any(c in contact for c in '()\\"'):
            raise ValueError(
                "say who runs the job, with a mail address or an http(s) address at which hosts can complain "
                "(printable ASCII, no brackets)"
            )
        return contact

    @field_validator("ports")
    @classmethod
    def _web_ports(cls, ports: list[int]) -> list[int]:
        for port in ports:
            if port not in (80, 443) and not 1024 <= port <= 65535:
                raise ValueError(f"{port} is the port of another service than the web: 80, 443, or 1024 and above")
        return sorted(set(ports))
