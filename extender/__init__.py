"""What kube-scheduler asks before it binds a GPU pod: which nodes can serve it, and which do so best.

Data flows one way: watch -> `ledger` (the books) -> `filter`, `prioritize` (pure decisions) -> `service` (bytes in,
bytes out, log and metrics) -> `app` (HTTP). Beside it, what becomes of pods: watch -> `outcomes` -> `failures` (the
standings of nodes) -> `ledger`. Only `app` knows FastAPI, only `serve` knows sockets, signals and the API server; the
books and the decisions do no I/O and read no clock.
"""
