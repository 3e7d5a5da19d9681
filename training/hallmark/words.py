"""C2PA's validation codes in words. Source of the codes: C2PA 2.2, section 15.2."""

from __future__ import annotations

from collections.abc import Iterable

#: The start of a code -> what it means for whoever holds the file. The longest start that fits counts.
_WORDS = {
    "assertion.dataHash.mismatch": "the picture was changed after signing, or the credential belongs to another one",
    "assertion.dataHash": "the credential's hash of the picture is missing or malformed",
    "assertion.hashedURI.mismatch": "a statement inside the credential was edited after signing",
    "assertion.missing": "a signed statement was taken out of the credential",
    "assertion.undeclared": "a statement was added to the credential after signing",
    "assertion.action": "the credential's list of actions breaks C2PA's rules",
    "claimSignature.mismatch": "the signature does not fit what it signs",
    "claimSignature.missing": "the credential has no signature",
    "claimSignature.outsideValidity": "signed outside the time in which the certificate is valid",
    "claim.": "the credential's claim is missing or malformed",
    "signingCredential.expired": "the signer's certificate has expired, and no time stamp says that it signed before",
    "signingCredential.untrusted": "nobody whom you trust vouches for the signer",
    "signingCredential.invalid": "the signer's certificate must not sign credentials",
    "signingCredential.revoked": "the signer's certificate was revoked",
    "timeStamp.mismatch": "the time stamp belongs to something else",
    "timeStamp.untrusted": "nobody whom you trust vouches for the time stamp",
    "timeStamp.malformed": "the time stamp cannot be read",
    "timeStamp.outsideValidity": "the time stamp was made outside the time in which its certificate is valid",
    "timeStamp.": "the time stamp does not hold",
    "ingredient.": "an earlier version that the credential names does not hold",
    "manifest.": "the credential's parts do not fit together",
    "algorithm.": "the credential uses an algorithm that is unknown or no longer safe",
}


def in_words(codes: Iterable[str]) -> tuple[str, ...]:
    """Return one sentence a code, each with its code behind it, without repetitions."""
    return tuple(dict.fromkeys(f"{_sentence(code)} ({code})" for code in codes))


def _sentence(code: str) -> str:
    fitting = [start for start in _WORDS if code.startswith(start)]
    return _WORDS[max(fitting, key=len)] if fitting else "the credential does not hold"
