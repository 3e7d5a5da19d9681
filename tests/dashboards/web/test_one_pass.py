"""Samples by caption in the order of a score: counted and put in order in one pass, as two passes would."""

import pytest


@pytest.mark.parametrize("order", ["", "desc"])
@pytest.mark.parametrize("column", ["similarity", "nsfw", "min_side"])
@pytest.mark.parametrize("word", ["drawing", "drawing 2", "DRAWING 5"])
def test_pages_by_caption_and_score_are_complete_and_in_order(everything, made, column, order, word):
    found = everything(f"q={word.replace(' ', '+')}&sort={column}&order={order}", size=23)
    wanted = [i for i, row in enumerate(made) if word.lower() in (row["caption"] or "").lower()[:1000]]
    scored = [i for i in wanted if made[i][column] is not None]
    scored.sort(key=lambda i: (-made[i][column] if order else made[i][column], i))
    assert [s["row"] for s in found] == scored + [i for i in wanted if made[i][column] is None]


def test_an_end_beyond_the_last_page_still_tells_the_total(client, made):
    wanted = sum("drawing 2" in (row["caption"] or "").lower()[:1000] for row in made)
    for after in ("none_599", f"{(9e30).hex().replace('+', '')}_3"):
        answer = client.get(f"/api/runs/made/samples?q=drawing+2&sort=similarity&after={after}").json()
        assert answer["total"] == wanted > 0
    nothing = client.get("/api/runs/made/samples?q=zeppelin&sort=similarity").json()
    assert (nothing["total"], nothing["samples"], nothing["after"]) == (0, [], "")
