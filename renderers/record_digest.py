"""What a record weighs in the digests by which control plane and rack find where they differ.

A scope's records fall into 256 buckets by the hash of their key.  A bucket's digest is the sum of the weights of its
records, modulo 2^48: a change takes the old word's weight off and puts the new one's on, whatever else is there and in
whatever order changes come (an incremental multiset hash, Clarke et al., ASIACRYPT 2003).  A scope's digest is the sum
of its buckets'.  It finds accidents, not forgeries: who may write records needs none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

BUCKETS = 256
MODULUS = 1 << 48
"""Sums of 32,767 weights fit in 63 bits, the largest number of both databases."""


def bucket_of(key: str) -> int:
    """The bucket that a key falls into, 0 to 255."""
    return hashlib.blake2b(key.encode(), digest_size=1).digest()[0]


def weight(key: str, value: Mapping[str, Any] | None) -> int:
    """The weight of a word: 0 for a tombstone, 1 to 2^48 - 1 for anything else."""
    if value is None:
        return 0
    text = key + "\n" + json.dumps(value, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest(), "big") or 1


def total(weights: Mapping[int, int]) -> int:
    """The digest of a scope from those of its buckets."""
    return sum(weights.values()) % MODULUS
