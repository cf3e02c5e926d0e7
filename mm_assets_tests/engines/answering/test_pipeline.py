"""What comes out of the pipeline, put in order; what ends its workers, as a sentence. No engine is started."""

import pytest
from ray.exceptions import ActorDiedError

from mm_assets.engines.answering.questions import Answer
from mm_assets.engines.answering.usage import Usage
from mm_assets.engines.answering.vllm import pipeline as vllm_pipeline
from mm_assets.engines.answering.vllm.pipeline import in_order
from mm_assets.lineage.errors import RefusalError


def usage(worker: str, run_s: float) -> Usage:
    return Usage(worker, 1.0, run_s, 0.0, 1, 1)


def answer(piece: int, place: int) -> tuple[int, int, Answer]:
    return piece, place, Answer(f"{piece}/{place}")


def test_pieces_come_whole_and_in_order_with_what_every_worker_has_done() -> None:
    blocks = [
        ([answer(1, 0), answer(1, 1)], usage("a", 1.0)),
        ([answer(0, 1)], usage("b", 1.0)),
        ([answer(2, 0), answer(0, 0)], usage("a", 2.0)),
        ([answer(3, 0)], usage("c", 1.0)),
    ]
    parts = list(in_order(iter(blocks), [2, 2, 1, 1]))
    said = [[one.image_id for one in part.answers] for part in parts]
    assert said == [["0/0", "0/1"], ["1/0", "1/1"], ["2/0"], ["3/0"]]
    done = {item.worker: item.run_s for item in parts[0].usages}
    assert done == {"a": 2.0, "b": 1.0}
    assert {item.worker for item in parts[-1].usages} == {"a", "b", "c"}


def test_a_block_that_comes_late_does_not_take_back_what_its_worker_has_done() -> None:
    blocks = [([answer(1, 0)], usage("a", 2.0)), ([answer(0, 0)], usage("a", 1.0))]
    parts = list(in_order(iter(blocks), [1, 1]))
    assert [item.run_s for part in parts for item in part.usages] == [2.0, 2.0]


REFUSED = "a trace\nmm_assets.lineage.refs.RefusalError: predict.engine is vllm: run `make vllm`"
WRONG = "a trace\nValueError: first\npydantic_core.ValidationError: 1 error\n  max_model_len 9 is\n    For more visit x"


@pytest.mark.parametrize(
    ("trace", "kind", "says"),
    [
        (REFUSED, RefusalError, "predict.engine is vllm: run `make vllm`"),
        (WRONG, RuntimeError, "ValidationError: 1 error max_model_len 9 is"),
        ("nothing that is known", RuntimeError, "nothing that is known"),
    ],
)
def test_what_a_worker_raised_when_it_started_is_the_sentence(trace: str, kind: type[Exception], says: str) -> None:
    class DiedError(ActorDiedError):
        actor_init_failed = True

        def __init__(self) -> None:
            super().__init__()

        def __str__(self) -> str:
            return trace

    found = vllm_pipeline._explained(DiedError())
    assert type(found) is kind
    assert says in str(found)
