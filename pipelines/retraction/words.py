"""A receipt in words, for whoever asked."""

from __future__ import annotations

from typing import Any

#: Most samples that are told one by one.
_TOLD = 20

#: What a sample was before, by its receipt; of others the receipt's own words are told.
_BEFORE = {"kept": "was in the shards", "dropped": "had not been kept"}


def receipt_words(signed: dict[str, Any]) -> str:
    """Return the lines of a receipt (as `read_receipt` gave it)."""
    body = signed["receipt"]
    request, dataset = body["request"], body["dataset"]
    matched = sorted(body["matched"], key=lambda sample: sample["before"] != "kept")
    left = [sample for sample in matched if sample["before"] == "kept"]
    earlier = sum(sample["before"] not in _BEFORE for sample in matched)
    named = f"{request['kind']} {request['value']!r}"
    lines = [
        f"Receipt for entry {request['entry']} of {request['created_at'][:10]}: {named}",
        f"Dataset {dataset['name']!r}, applied {body['at']}",
        f"  version before  {dataset['before']}",
        f"  version now     {dataset['after']}",
        f"{len(matched)} sample(s) matched; {len(left)} of them had been kept and are out of the shards now"
        + (f"; {earlier} had been taken out earlier." if earlier else "."),
    ]
    if "not_compared" in request:
        lines.append(f"Not compared with any sample: {request['not_compared']}.")
    for sample in matched[:_TOLD]:
        state = _BEFORE.get(sample["before"], sample["before"])
        lines.append(f"  {sample['uid']}  {sample['detail']}; {state}; removed from {_folders(sample)}")
        lines += [f"    followed by near-duplicate {uid}" for uid in sample["followed_by"]]
    if len(matched) > _TOLD:
        lines.append(f"  and {len(matched) - _TOLD} more, in the file")
    seen = body["checkpoints_trained_on_a_version_that_held_one"]
    lines.append(f"{len(seen)} checkpoint(s) were trained on a version that held one of them" + (":" if seen else "."))
    lines += [f"  {found['checkpoint']} {found['path']} ({found['finished_at']})" for found in seen]
    lines.append(f"Not in our hands: {body['not_in_our_hands']}.")
    lines.append(f"Signed by key {signed['signature']['key_id']}; check it with assay optout receipt verify.")
    return "\n".join(lines)


def _folders(sample: dict[str, Any]) -> str:
    """Return where a sample was taken out, by folder; the shard by its number."""
    found = {
        name.rsplit(".", 1)[0] if name.startswith("shards/") else name.split("/")[0] for name in sample["removed_from"]
    }
    return ", ".join(sorted(found)) or "nowhere: nothing was held of it"
