"""The errors that the contract tells of each RPC, read from its comments."""

from __future__ import annotations

import re

from tests.tidy.sources import PROTO

SERVICE = re.compile(r"^service (\w+) \{$", re.MULTILINE)
RPC = re.compile(r"((?:^ *//.*\n)+) *rpc (\w+)\(", re.MULTILINE)
ERROR = re.compile(r"\b([A-Z_]{4,}) / ([A-Z_]{4,})\b")
THOSE = re.compile(r"\bthose of (\w+)")


def errors_told():
    """Returns the code and the reason of each error, by `Service/Rpc`."""
    comments = {
        f"{SERVICE.search(text)[1]}/{name}": " ".join(re.sub(r" *//", "", comment).split())
        for path in PROTO.glob("*_service.proto")
        for text in [path.read_text(encoding="utf-8")]
        for comment, name in RPC.findall(text)
    }
    told = {rpc: set(ERROR.findall(comment)) for rpc, comment in comments.items()}
    for rpc, comment in comments.items():
        for other in THOSE.findall(comment):
            told[rpc] |= told[f"{rpc.partition('/')[0]}/{other}"]
    return {rpc: sorted(pairs) for rpc, pairs in sorted(told.items())}
