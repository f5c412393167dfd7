"""Models that are only reached over a network: KServe V2 (REST, gRPC) and V1, and any JSON service with a mapping file.

| file | what it knows |
|---|---|
| address | where a question may be sent |
| secrets | who asks, without ever showing it |
| transport | one request, one answer, bounded in time and size |
| caller | how often, how fast, how patiently; limits of calls and money |
| ledger | every call that left |
| codec, v2, v1, mapping | how rows become requests and answers become scores |
| rpc, wire | V2 over gRPC |
| model | the model that answers questions |

What a server reads and writes by the same protocols, ``outside`` and ``tensors``, needs no client: ``open_endpoint``,
which needs httpx, is imported when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xplain.models.endpoint.open import open_endpoint

__all__ = ["open_endpoint"]


def __getattr__(name: str) -> Any:
    if name != "open_endpoint":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from xplain.models.endpoint.open import open_endpoint

    return open_endpoint
