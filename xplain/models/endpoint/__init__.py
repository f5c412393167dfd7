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
"""

from xplain.models.endpoint.open import open_endpoint

__all__ = ["open_endpoint"]
