"""Requests in hand when an engine raised are asked one by one by the next; what ends that one too is known."""

import threading

import pytest

from mm_assets.engines.answering.vllm.suspects import Asked, EngineEndedError, Key, Known, Line, Quarantine


def line(known: Known, *keys: Key) -> Line:
    made = Line(known)
    for key in keys:
        made.put(Asked(key, None, None))
    return made


def handed(found: Line, idle: bool) -> list[Key]:
    """What is handed over until the engine should go on with what it has."""
    keys: list[Key] = []
    while asked := found.next(idle and not keys):
        keys.append(asked.key)
    return keys


def test_requests_come_in_order_and_together() -> None:
    found = line(Known(), (0, 0), (0, 1), (1, 0))
    assert handed(found, idle=True) == [(0, 0), (0, 1), (1, 0)]
    assert handed(found, idle=False) == []


def test_suspects_are_alone_and_nobody_waits_for_ever() -> None:
    found = line(Known(frozenset({(0, 1), (1, 0)})), (0, 0), (0, 1), (0, 2), (1, 0), (1, 1))
    assert handed(found, idle=True) == [(0, 0)]
    assert handed(found, idle=False) == []  # the suspect waits for it
    assert handed(found, idle=True) == [(0, 1)]
    assert handed(found, idle=False) == []  # and all others for the suspect
    assert handed(found, idle=True) == [(0, 2)]
    assert handed(found, idle=True) == [(1, 0)]
    assert handed(found, idle=True) == [(1, 1)]


def test_what_ended_an_engine_alone_is_not_asked_again() -> None:
    ended = Asked((0, 0), None, None)
    found = Line(Known(frozenset({(0, 0)}), {(0, 0): "ValueError: no"}))
    found.put(ended)
    found.put(Asked((0, 1), None, None))
    assert handed(found, idle=True) == [(0, 1)]
    assert str(ended.answer.exception()) == "ValueError: no"
    assert isinstance(ended.answer.exception(), EngineEndedError)


def test_the_time_without_a_request_is_counted() -> None:
    found = Line(Known())
    asking = threading.Timer(0.05, found.put, [Asked((0, 0), None, None)])
    asking.start()
    assert handed(found, idle=True) == [(0, 0)]
    assert 0 < found.waited_s < 60
    waited = found.waited_s
    assert handed(found, idle=False) == []
    assert found.waited_s == waited


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
    assert quarantine.known().suspects == {key for in_hand in times for key in in_hand}
    assert sorted(quarantine.known().ended) == ended
