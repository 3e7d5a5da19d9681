"""What can go wrong with one request, as a reason of the closed list."""

from __future__ import annotations

from filters.optout.base import Headers
from filters.reasons import Reason

#: Classes of outcomes, as they stand in the column `status` of downloads and behind `--retry`.
OK, OPT_OUT, REFUSED, NETWORK, HTTP, SIZE, DECODE = "ok", "opt_out", "refused", "network", "http", "size", "decode"
HARMFUL = "harmful"

#: Reasons that the opt-out registry gives before anything is asked for.
BY_REGISTRY = (Reason.REGISTRY_OPT_OUT, Reason.CREATOR_NAMED)

#: The class of each reason that a fetch can end with.
STATUS = {
    None: OK,
    Reason.OPTED_OUT: OPT_OUT,
    Reason.REGISTRY_OPT_OUT: OPT_OUT,
    Reason.CREATOR_NAMED: OPT_OUT,
    Reason.OPT_OUT_UNREADABLE: OPT_OUT,
    Reason.BAD_METADATA: REFUSED,
    Reason.UNREADABLE_SHARD: REFUSED,
    Reason.URL_REFUSED: REFUSED,
    Reason.NETWORK_ERROR: NETWORK,
    Reason.FETCH_TIMEOUT: NETWORK,
    Reason.HTTP_ERROR: HTTP,
    Reason.BODY_TOO_LARGE: SIZE,
    Reason.NOT_A_PICTURE: DECODE,
    Reason.EMPTY_IMAGE: DECODE,
    Reason.KNOWN_HARMFUL: HARMFUL,
}


class Failure(Exception):
    """A request that brought nothing; `reached` tells whether the host answered at all.

    `headers` are those of the answer where there was one. A `final` failure has had its further tries.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        http_status: int | None = None,
        headers: Headers = (),
        reached: bool = True,
        final: bool = False,
    ) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail
        self.http_status = http_status
        self.headers = headers
        self.reached = reached
        self.final = final
