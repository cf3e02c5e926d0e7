"""Requests in hand when an engine raised are asked one by one by the next; what ends that one too is known."""

import threading

import pytest

from mm_assets.engines.answering.vllm.suspects import (
    CrashReport,
    EngineEndedError,
    Key,
    Quarantine,
    Request,
    RequestQueue,
)


def queue_of(report: CrashReport, *keys: Key) -> RequestQueue:
    made = RequestQueue(report)
    for key in keys:
        made.put(Request(key, None, None))
    return made


def handed(requests: RequestQueue, idle: bool) -> list[Key]:
    """What is handed over until the engine should go on with what it has."""
    keys: list[Key] = []
    while request := requests.next(idle and not keys):
        keys.append(request.key)
    return keys


def test_requests_come_in_order_and_together() -> None:
    requests = queue_of(CrashReport(), (0, 0), (0, 1), (1, 0))
    assert handed(requests, idle=True) == [(0, 0), (0, 1), (1, 0)]
    assert handed(requests, idle=False) == []


def test_suspects_are_alone_and_nobody_waits_for_ever() -> None:
    requests = queue_of(CrashReport(frozenset({(0, 1), (1, 0)})), (0, 0), (0, 1), (0, 2), (1, 0), (1, 1))
    assert handed(requests, idle=True) == [(0, 0)]
    assert handed(requests, idle=False) == []  # the suspect waits for it
    assert handed(requests, idle=True) == [(0, 1)]
    assert handed(requests, idle=False) == []  # and all others for the suspect
    assert handed(requests, idle=True) == [(0, 2)]
    assert handed(requests, idle=True) == [(1, 0)]
    assert handed(requests, idle=True) == [(1, 1)]


def test_what_ended_an_engine_alone_is_not_asked_again() -> None:
    ended = Request((0, 0), None, None)
    requests = RequestQueue(CrashReport(frozenset({(0, 0)}), {(0, 0): "ValueError: no"}))
    requests.put(ended)
    requests.put(Request((0, 1), None, None))
    assert handed(requests, idle=True) == [(0, 1)]
    assert str(ended.answer.exception()) == "ValueError: no"
    assert isinstance(ended.answer.exception(), EngineEndedError)


def test_the_time_without_a_request_is_counted() -> None:
    requests = RequestQueue(CrashReport())
    asking = threading.Timer(0.05, requests.put, [Request((0, 0), None, None)])
    asking.start()
    assert handed(requests, idle=True) == [(0, 0)]
    assert 0 < requests.waited_s < 60
    waited = requests.waited_s
    assert handed(requests, idle=False) == []
    assert requests.waited_s == waited


@pytest.mark.parametrize(
    ("times", "ended"),
    [
        ([[(0, 0)]], []),  # it was alone by chance: it may be the engine's own fault
        ([[(0, 0), (0, 1)]], []),
        ([[(0, 0), (0, 1)], [(0, 1)]], [(0, 1)]),
        ([[(0, 0), (0, 1)], [(0, 1)], [(0, 0)]], [(0, 0), (0, 1)]),
        ([[(0, 0), (0, 1)], [(0, 0), (0, 1)]], []),
    ],
)
def test_guilty_is_who_ended_two_engines_the_second_alone(times: list[list[Key]], ended: list[Key]) -> None:
    quarantine = Quarantine()
    for in_hand in times:
        quarantine.raised(in_hand, "no")
    assert quarantine.report().suspects == {key for in_hand in times for key in in_hand}
    assert sorted(quarantine.report().ended) == ended
