"""From picks to cards: what a gallery shows of a sample, fetched only for the samples that are shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dashboards.galleries import Board, Pick
from dashboards.pictures import Picture, Thumbnails, load_thumbnails
from dashboards.queries import AppliedRule
from dashboards.text import clean, score_beside
from filters.reasons import Reason
from filters.rules import RULES
from pipelines.run.directory import Run

#: Pictures with at least this NSFW probability are veiled wherever they stand, rule or no rule.
VEIL_FROM = 0.5

_SAMPLES = ["uid", "key", "shard", "caption", "width", "height", "format", "failure", "failure_detail"]
_LEDGER = ["decision", "primary_reason", "reasons", "group"]
_EVIDENCE = ["duplicate_of", "duplicate_method", "duplicate_distance"]

Row = dict[str, Any]


@dataclass
class Card:
    """One sample as a gallery shows it; all text is cleaned and cut."""

    part: int
    uid: str
    caption: str
    key: str
    shard: str
    size: str
    value: str = ""
    detail: str = ""
    state: str = ""
    readable: bool = True
    others: list[str] = field(default_factory=list)
    veiled: bool = False
    picture: Picture | None = None


@dataclass(frozen=True)
class Pair:
    """A dropped duplicate and the sample that stands in its place."""

    dropped: Card
    stands: Card | None
    note: str
    distance: float = 0.0


@dataclass(frozen=True)
class Shown:
    """A board with its cards (or pairs), ready for the template."""

    board: Board
    kind: str
    cards: list[Card]
    pairs: list[Pair]

    @property
    def veiled(self) -> bool:
        """Tell whether any picture of it is veiled."""
        return any(card.veiled for card in self.all_cards())

    def all_cards(self) -> list[Card]:
        """Return the cards, those of pairs included, best first."""
        paired = [card for pair in self.pairs for card in (pair.dropped, pair.stands) if card]
        return [*self.cards, *paired]


def show(run: Run, boards: list[Board], rules: list[AppliedRule]) -> list[Shown]:
    """Fetch what the boards' picks need and turn them into cards, still without pictures."""
    places = {(pick.part, pick.row) for board in boards for pick in board.chosen()}
    rows = fetch(run, places, rules)
    wanted = {rows[p.part, p.row]["duplicate_of"] for b in boards if b.kind == "pairs" for p in b.chosen()}
    partners = _locate(run, {uid for uid in wanted if uid})
    rows.update(fetch(run, set(partners.values()), rules))
    shown = []
    for board in boards:
        if board.kind == "pairs":
            pairs = [_pair(board, pick, rows, partners) for pick in board.chosen()]
            shown.append(Shown(board, board.kind, [], sorted(pairs, key=_by_distance)))
            continue
        cards = [_card(board, pick, rows[pick.part, pick.row], rules) for pick in board.chosen()]
        # samples without a picture are told in a table, whatever they were dropped for
        kind = "failures" if cards and not any(card.readable for card in cards) else board.kind
        shown.append(Shown(board, kind, cards, []))
    return shown


def fetch(run: Run, places: set[tuple[int, int]], rules: list[AppliedRule]) -> dict[tuple[int, int], Row]:
    """Read the rows at (part, row) with all that a card may say."""
    wanted = sorted({rule.column for rule in rules})
    found: dict[tuple[int, int], Row] = {}
    for part in sorted({part for part, _ in places}):
        rows = sorted(row for p, row in places if p == part)
        take = pa.array(rows, pa.int64())
        scores = run.table("scores", part, ["failure", "failure_detail", RULES["nsfw"].column, *wanted]).take(take)
        samples = run.table("samples", part, list(dict.fromkeys([*_SAMPLES, *wanted]))).take(take)
        ledger = run.table("ledger", part, [*_LEDGER, *_EVIDENCE]).take(take)
        for row, *dicts in zip(rows, scores.to_pylist(), samples.to_pylist(), ledger.to_pylist(), strict=True):
            merged: Row = {}
            for values in dicts:
                merged.update({k: v for k, v in values.items() if v is not None or k not in merged})
            found[part, row] = {**merged, "part": part}
    return found


def _locate(run: Run, uids: set[str]) -> dict[str, tuple[int, int]]:
    """Return where the samples stand that took a duplicate's place: (part, row) by uid."""
    found: dict[str, tuple[int, int]] = {}
    values = pa.array(sorted(uids), pa.string())
    for part in run.parts("ledger"):
        if len(found) == len(uids):
            break
        ledger = run.table("ledger", part, ["uid", "reasons"])
        for row in pc.indices_nonzero(pc.is_in(ledger.column("uid"), value_set=values)).to_pylist():
            # a repeated uid is not the one that stands
            if Reason.SAME_SAMPLE.value not in ledger.column("reasons")[row].as_py():
                found.setdefault(ledger.column("uid")[row].as_py(), (part, row))
    return found


def _card(board: Board, pick: Pick, row: Row, rules: list[AppliedRule]) -> Card:
    value, rule = "", board.rule
    if rule and board.side and pick.value is not None:
        value = score_beside(pick.value, rule.low if board.side == "low" else rule.high)
    elif rule and rule.allow is not None:
        value = clean(row.get(rule.column), 60)
    elif board.reason is Reason.BALANCE_CAP:
        value = clean(row["group"], 60)
    elif board.reason is Reason.SCORE_MISSING:
        value = "no " + ", ".join(sorted({r.column for r in rules if _missing(row.get(r.column))}))
    card = plain_card(row, board.reason)
    card.value = value
    return card


def _missing(value: object) -> bool:
    return value is None or value != value


def plain_card(row: Row, reason: Reason) -> Card:
    """Return the card of one row; `reason` is not repeated among the others."""
    reasons: list[str] = row["reasons"]
    size = f"{row['width']} × {row['height']} {row['format'] or ''}".strip() if row["width"] else ""
    nsfw = row.get(RULES["nsfw"].column)
    return Card(
        part=row["part"],
        uid=row["uid"],
        caption=clean(row["caption"]),
        key=clean(row["key"], 60),
        shard=clean(row["shard"], 60),
        size=size,
        detail=clean(row["failure_detail"], 200),
        state="kept" if row["decision"] == "kept" else f"dropped: {row['primary_reason']}",
        readable=row["failure"] is None,
        others=[code for code in reasons if code != reason.value],
        veiled=Reason.NSFW in (reason, *reasons) or (nsfw is not None and nsfw >= VEIL_FROM),
    )


def _pair(board: Board, pick: Pick, rows: dict[tuple[int, int], Row], partners: dict[str, tuple[int, int]]) -> Pair:
    row = rows[pick.part, pick.row]
    dropped = plain_card(row, board.reason)
    place = partners.get(row["duplicate_of"] or "")
    if place is None:
        return Pair(dropped, None, "")
    other = rows[place]
    stands = plain_card(other, board.reason)
    # the same picture stands beside it: what hides one hides both
    dropped.veiled = stands.veiled = dropped.veiled or stands.veiled
    return Pair(dropped, stands, difference(row), row["duplicate_distance"] or 0.0)


#: How a distance is told, by method; `{}` stands for it.
_TOLD = {
    "sha256": "same bytes",
    "pixels": "same pixels",
    "phash": "{:.0f} of 64 bits differ (pHash)",
    "pdq": "{:.0f} of 256 bits differ (PDQ)",
    "pdq_dihedral": "{:.0f} of 256 bits differ, flipped or turned (PDQ)",
    "embedding": "cosine {:.3f}",
}


def difference(row: Row) -> str:
    """Tell how far a dropped duplicate is from the sample that stands in its place, and by which method."""
    if row["duplicate_method"] is None:
        return "same sample" if row["duplicate_of"] else ""
    distance = row["duplicate_distance"]
    shown = 1 - distance if row["duplicate_method"] == "embedding" else distance
    return _TOLD[row["duplicate_method"]].format(shown)


def _by_distance(pair: Pair) -> tuple[float, str]:
    """Order pairs by how far apart they are: the doubtful ones first."""
    return -pair.distance, pair.dropped.uid


def attach_pictures(run: Run, shown: list[Shown], budget: int) -> list[str]:
    """Give the cards their pictures while `budget` bytes last; return what could not be read.

    The best pick of every board comes first, then the second of every board, and so on: a small budget
    thins all galleries alike.
    """
    ranked = [(rank, card) for item in shown if item.kind != "failures" for rank, card in _ranks(item)]
    ranked.sort(key=lambda entry: entry[0])
    thumbnails: Thumbnails = load_thumbnails(run, [(card.part, card.uid) for _, card in ranked])
    for _, card in ranked:
        picture = thumbnails.found.get((card.part, card.uid))
        fits = picture is not None and len(picture.uri) <= budget
        card.picture = picture if fits else None
        budget -= len(picture.uri) if picture and fits else 0
    return thumbnails.problems


def _ranks(item: Shown) -> Iterable[tuple[int, Card]]:
    return enumerate(item.all_cards())
