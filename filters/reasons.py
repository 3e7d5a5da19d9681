"""The closed list of reasons for which a sample is dropped.

The order of the members is the order of precedence: a sample's *primary* reason is the first of its
reasons in this list, so that counts by primary reason add up. `docs/reasons.md` is generated from here.
"""

from __future__ import annotations

from enum import Enum


class Stage(str, Enum):
    """Where in the job a reason is found."""

    INGEST = "ingest"
    RIGHTS = "rights"
    FETCH = "fetch"
    CONTENT = "content"
    DECODE = "decode"
    RULE = "rule"
    DUPLICATE = "duplicate"
    BALANCE = "balance"


class Reason(str, Enum):
    """One reason for a drop: its code, the stage that finds it, what it means, what a user can do."""

    stage: Stage
    meaning: str
    remedy: str

    def __new__(cls, code: str, stage: Stage, meaning: str, remedy: str) -> Reason:
        """Make a member whose value is its code."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.stage = stage
        member.meaning = meaning
        member.remedy = remedy
        return member

    # -- known harm: before anything else, and nothing else of the sample is kept ------------------------
    KNOWN_HARMFUL = (
        "KNOWN_HARMFUL",
        Stage.INGEST,
        "The picture is on one of the hash lists of known harmful pictures; no byte, name or address of it is kept.",
        "Follow the duty to report that your law and the list's owner set; Assay keeps only the count.",
    )
    # -- ingest: the record cannot be read, so nothing about it is known, its rights included ---------
    UNSAFE_PATH = (
        "UNSAFE_PATH",
        Stage.INGEST,
        "A member of the archive has an absolute path, a `..` in it, or is a link or a device.",
        "Rebuild the archive with plain relative names; the member's content was not read.",
    )
    UNREADABLE_SHARD = (
        "UNREADABLE_SHARD",
        Stage.INGEST,
        "The shard ends, breaks or cannot be read from this record on.",
        "Fetch the shard again; the records before this one were read.",
    )
    DUPLICATE_KEY = (
        "DUPLICATE_KEY",
        Stage.INGEST,
        "An earlier record of the same shard has the same key.",
        "Give each record its own key; the first one is kept.",
    )
    BAD_METADATA = (
        "BAD_METADATA",
        Stage.INGEST,
        "The record's JSON is not readable, or larger than `limits.max_metadata_bytes`; its rights cannot be known.",
        "Repair the JSON; rights checks fail closed.",
    )
    MISSING_IMAGE = (
        "MISSING_IMAGE",
        Stage.INGEST,
        "The record has no picture.",
        "Check the extensions of the members, or the name of the column that holds the bytes.",
    )
    # -- rights: they count first wherever the record could be read ------------------------------------
    OPTED_OUT = (
        "OPTED_OUT",
        Stage.RIGHTS,
        "The picture's host, page, headers or file reserve it from training; the signals say which, word by word.",
        "Nothing, or obtain a licence and add its signed grant to the registry.",
    )
    REGISTRY_OPT_OUT = (
        "REGISTRY_OPT_OUT",
        Stage.RIGHTS,
        "An entry of the opt-out registry names the picture's address, domain, creator or hash.",
        "Nothing, or obtain a licence and add its signed grant to the registry.",
    )
    CREATOR_NAMED = (
        "CREATOR_NAMED",
        Stage.RIGHTS,
        'The caption says "by" or "in the style of" a creator who opted out.',
        "Set `rights.captions: keep` if captions of your data do not name makers.",
    )
    LOOK_ALIKE = (
        "LOOK_ALIKE",
        Stage.RIGHTS,
        "The picture looks like one that was registered as opted out (PDQ or embedding).",
        "Change `rights.look_alike` bounds; the match states entry and distance.",
    )
    LOOK_ALIKE_REVIEW = (
        "LOOK_ALIKE_REVIEW",
        Stage.RIGHTS,
        "The picture may look like a registered one; it stays out until a person has judged the pair.",
        "Run `assay optout review`.",
    )
    OPT_OUT_UNREADABLE = (
        "OPT_OUT_UNREADABLE",
        Stage.RIGHTS,
        "A rights statement is there, or its host gave no answer, and it could not be read.",
        "Fetch again with `assay ingest --retry network`, or set `rights.unreadable: default` and say why.",
    )
    NO_PERMISSION = (
        "NO_PERMISSION",
        Stage.RIGHTS,
        "No signal allows training, and the recipe asks for one (`rights.default: fail_closed`).",
        "Set `rights.default: fail_open` where the law lets silence be permission.",
    )
    SYNTHETIC_PICTURE = (
        "SYNTHETIC_PICTURE",
        Stage.RIGHTS,
        "The file's metadata says that a generative model made the picture.",
        "Set `rights.synthetic: keep`.",
    )
    LICENCE_MISSING = (
        "LICENCE_MISSING",
        Stage.RIGHTS,
        "The sample states no licence and the recipe has a list of allowed ones.",
        "Find the licence, or set `licences.missing: keep` and say why.",
    )
    LICENCE_NOT_ALLOWED = (
        "LICENCE_NOT_ALLOWED",
        Stage.RIGHTS,
        "The sample's licence is not on the recipe's list.",
        "Add the licence to `licences.allow` if it permits training.",
    )
    # -- fetch: the picture of a URL list could not be had ---------------------------------------------
    URL_REFUSED = (
        "URL_REFUSED",
        Stage.FETCH,
        "The address is no plain http or https URL, or leads to a private, link-local or other internal address.",
        "Correct the list; Assay never connects to such addresses, redirects included.",
    )
    NETWORK_ERROR = (
        "NETWORK_ERROR",
        Stage.FETCH,
        "The host's name, connection or TLS failed, or the answer broke off.",
        "Try again with `assay ingest --retry network`.",
    )
    FETCH_TIMEOUT = (
        "FETCH_TIMEOUT",
        Stage.FETCH,
        "The answer was not complete within `fetch.deadline_s`.",
        "Try again with `assay ingest --retry network`, or raise the limit.",
    )
    HTTP_ERROR = (
        "HTTP_ERROR",
        Stage.FETCH,
        "The host answered with another status than 200, or redirected too often.",
        "Try again with `assay ingest --retry http` where the status may pass (429, 5xx).",
    )
    BODY_TOO_LARGE = (
        "BODY_TOO_LARGE",
        Stage.FETCH,
        "The answer's body is larger than `limits.max_image_bytes`; the download was stopped there.",
        "Raise the limit if such files are expected.",
    )
    NOT_A_PICTURE = (
        "NOT_A_PICTURE",
        Stage.FETCH,
        "The answer's bytes are no picture of a supported format, whatever its content type says.",
        "Correct the list.",
    )
    # -- content: the pair is empty, too large or no text -----------------------------------------------
    EMPTY_IMAGE = (
        "EMPTY_IMAGE",
        Stage.CONTENT,
        "The picture has zero bytes.",
        "Fetch the picture again.",
    )
    FILE_TOO_LARGE = (
        "FILE_TOO_LARGE",
        Stage.CONTENT,
        "The picture's file is larger than `limits.max_image_bytes`.",
        "Raise the limit if such files are expected.",
    )
    CAPTION_NOT_UTF8 = (
        "CAPTION_NOT_UTF8",
        Stage.CONTENT,
        "The caption is not valid UTF-8.",
        "Convert the caption to UTF-8; guessing an encoding would invent text.",
    )
    CAPTION_TOO_LONG = (
        "CAPTION_TOO_LONG",
        Stage.CONTENT,
        "The caption is larger than `limits.max_caption_bytes`.",
        "Raise the limit, or shorten the caption at its source.",
    )
    EMPTY_CAPTION = (
        "EMPTY_CAPTION",
        Stage.CONTENT,
        "The record has no caption, or one of white space only.",
        "Supply a caption.",
    )
    # -- decode: the picture cannot be turned into pixels -----------------------------------------------
    DECOMPRESSION_BOMB = (
        "DECOMPRESSION_BOMB",
        Stage.DECODE,
        "The picture's header declares more pixels than `limits.max_pixels`, or other work out of all proportion.",
        "Raise the limit if such pictures are expected; memory grows with it.",
    )
    UNSUPPORTED_FORMAT = (
        "UNSUPPORTED_FORMAT",
        Stage.DECODE,
        "The bytes are not a picture of a supported format.",
        "Convert to PNG, JPEG, WebP, GIF, TIFF, BMP or AVIF.",
    )
    DECODE_ERROR = (
        "DECODE_ERROR",
        Stage.DECODE,
        "The picture is corrupt or cut off.",
        "Fetch the picture again.",
    )
    DECODER_CRASHED = (
        "DECODER_CRASHED",
        Stage.DECODE,
        "The picture ends the process that decodes it; found by trying each picture of the part in one of its own.",
        "Keep the file from other programs, and report it to the makers of the decoder.",
    )
    DECODE_TIMEOUT = (
        "DECODE_TIMEOUT",
        Stage.DECODE,
        "Decoding the picture does not end (60 s of CPU time; the largest allowed pictures take about 4).",
        "Keep the file from other programs, and report it to the makers of the decoder.",
    )
    # -- rules over scores -----------------------------------------------------------------------------
    SCORE_MISSING = (
        "SCORE_MISSING",
        Stage.RULE,
        "A rule's column is null or not a number for this sample.",
        "Run `assay score`, or remove the rule; a missing score never passes.",
    )
    IMAGE_TOO_SMALL = (
        "IMAGE_TOO_SMALL",
        Stage.RULE,
        "The picture's shorter side is out of the rule's bounds (pixels).",
        "Change `rules.min_side`.",
    )
    ASPECT_RATIO = (
        "ASPECT_RATIO",
        Stage.RULE,
        "Longer side over shorter side is out of the rule's bounds.",
        "Change `rules.aspect_ratio`.",
    )
    CAPTION_LENGTH = (
        "CAPTION_LENGTH",
        Stage.RULE,
        "The caption's number of characters or words is out of the rule's bounds.",
        "Change `rules.caption_characters` or `rules.caption_words`.",
    )
    REPEATED_CAPTION = (
        "REPEATED_CAPTION",
        Stage.RULE,
        "Too many samples of the corpus carry this caption (case, digits and punctuation set aside).",
        "Change `rules.caption_repeats`.",
    )
    LANGUAGE = (
        "LANGUAGE",
        Stage.RULE,
        "The caption's language is not allowed, or its detection is out of the rule's bounds.",
        "Change `rules.language`.",
    )
    BLURRED = (
        "BLURRED",
        Stage.RULE,
        "The sharpness is out of the rule's bounds.",
        "Change `rules.sharpness`.",
    )
    LOW_CONTRAST = (
        "LOW_CONTRAST",
        Stage.RULE,
        "The contrast is out of the rule's bounds (a blank picture has none).",
        "Change `rules.contrast`.",
    )
    LOW_QUALITY = (
        "LOW_QUALITY",
        Stage.RULE,
        "The technical quality (damage by blur, noise, compression, exposure) is out of the rule's bounds.",
        "Change `rules.quality`.",
    )
    COLOURFULNESS = (
        "COLOURFULNESS",
        Stage.RULE,
        "The colourfulness is out of the rule's bounds.",
        "Change `rules.colourfulness`.",
    )
    NSFW = (
        "NSFW",
        Stage.RULE,
        "The NSFW probability is out of the rule's bounds.",
        "Change `rules.nsfw`.",
    )
    WATERMARK = (
        "WATERMARK",
        Stage.RULE,
        "The watermark probability, or the share of the picture that text covers, is out of the rule's bounds.",
        "Change `rules.watermark` or `rules.text_area`; `watermark_text` says what was read.",
    )
    LOW_AESTHETIC = (
        "LOW_AESTHETIC",
        Stage.RULE,
        "The predicted aesthetic rating is out of the rule's bounds.",
        "Change `rules.aesthetic`; bounds belong to one head.",
    )
    LOW_SIMILARITY = (
        "LOW_SIMILARITY",
        Stage.RULE,
        "The image-text similarity is out of the rule's bounds.",
        "Change `rules.similarity`; bounds belong to one encoder.",
    )
    # -- duplicates ------------------------------------------------------------------------------------
    SAME_SAMPLE = (
        "SAME_SAMPLE",
        Stage.DUPLICATE,
        "Picture, caption and URL are those of another sample (equal uid).",
        "Nothing: a dataset holds a sample once.",
    )
    EXACT_DUPLICATE = (
        "EXACT_DUPLICATE",
        Stage.DUPLICATE,
        "The picture's bytes (SHA-256), or its decoded pixels, are those of the sample that was kept.",
        "Set `duplicates.exact: false` to keep them.",
    )
    NEAR_DUPLICATE = (
        "NEAR_DUPLICATE",
        Stage.DUPLICATE,
        "The picture's perceptual hash (pHash, PDQ, PDQ of a flip or turn) is within the recipe's bits of that of the "
        "one that was kept.",
        "Change `duplicates.phash_distance`, `duplicates.pdq_distance`, `duplicates.dihedral` or, where just colours "
        "differ, `duplicates.colour_distance`; what pHash alone finds needs `duplicates.confirm_distance`.",
    )
    SEMANTIC_DUPLICATE = (
        "SEMANTIC_DUPLICATE",
        Stage.DUPLICATE,
        "The picture's embedding is within `duplicates.cosine` of that of the sample that was kept, and no hash is.",
        "Change `duplicates.cosine`; bounds belong to one encoder.",
    )
    CONTAMINATED = (
        "CONTAMINATED",
        Stage.DUPLICATE,
        "The picture is also in one of the sets of `duplicates.against`; `duplicates/contamination` says in which.",
        "Nothing, or take the set out of `duplicates.against`.",
    )
    THINNED = (
        "THINNED",
        Stage.DUPLICATE,
        "The picture is no duplicate, but so much like another kept sample that semantic thinning left it out.",
        "Change `duplicates.thin`.",
    )
    # -- balance ---------------------------------------------------------------------------------------
    BALANCE_CAP = (
        "BALANCE_CAP",
        Stage.BALANCE,
        "Its group already has as many samples as `balance.cap` allows.",
        "Raise `balance.cap`, or balance by another column.",
    )
    BALANCE_CONCEPT = (
        "BALANCE_CONCEPT",
        Stage.BALANCE,
        "None of its concepts drew it under the caps of `balance.concepts`, or it has none and those are dropped.",
        "Raise `balance.concepts.t`, or set `balance.concepts.unmatched: keep`.",
    )
    BALANCE_TEMPERATURE = (
        "BALANCE_TEMPERATURE",
        Stage.BALANCE,
        "Its value of the group has as many samples as `balance.temperature` gives it.",
        "Raise `balance.temperature.keep` or `tau`; without `keep` the temperature weighs and drops nothing.",
    )
    BALANCE_QUOTA = (
        "BALANCE_QUOTA",
        Stage.BALANCE,
        "Its value of a group is over-full: with it, another value would be below its share in `balance.quotas`.",
        "Lower the share, or `max_drop`; `balance/balance.json` says what each quota costs.",
    )


#: Position of each reason in the order of precedence.
PRECEDENCE: dict[Reason, int] = {reason: index for index, reason in enumerate(Reason)}

#: Each reason by its code.
BY_CODE: dict[str, Reason] = {reason.value: reason for reason in Reason}


def primary(reasons: list[Reason]) -> Reason | None:
    """Return the reason of highest precedence, or None for a kept sample."""
    return min(reasons, key=PRECEDENCE.__getitem__, default=None)
