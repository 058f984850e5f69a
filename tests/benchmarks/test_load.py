"""A short form of the benchmark `load`."""

from benchmarks.load import measure


def test_an_extender_of_fifty_nodes_answers_every_request_while_they_change() -> None:
    """That its books know every node in the end is checked by the benchmark."""
    figures = measure(seconds=2, nodes=50, pods=500, gpu_pods=350)
    assert (figures["filter_requests"], figures["prioritize_requests"]) == (50, 50)
    assert (figures["filter_errors"], figures["prioritize_errors"]) == (0, 0)
    for verb in ("filter", "prioritize"):
        assert 0 < figures[f"{verb}_p50_ms"] <= figures[f"{verb}_p99_ms"] <= figures[f"{verb}_max_ms"]
    assert 0 < figures["start_mib"] <= figures["peak_mib"]
    assert 0 < figures["end_mib"] <= figures["peak_mib"]
