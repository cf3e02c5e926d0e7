"""vLLM's engine and what it is given: whose answer is whose, labels and captions, work that is shared, what fails."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from mm_assets.engines.answering.pictures import Picture
from mm_assets.engines.answering.questions import MEAN, PATH, Answer, Question
from mm_assets.engines.answering.run import run
from mm_assets.engines.answering.transformers.generators import Writer
from mm_assets.engines.answering.transformers.loaded_model import LoadedModel
from mm_assets.engines.answering.vllm import pipeline as vllm_pipeline
from mm_assets.engines.answering.vllm.answerer import Wanted
from mm_assets.engines.answering.work import AnswerJob, cut_pieces
from mm_assets.engines.lake.images import LanceImages
from mm_assets.engines.models.files import local_folder
from mm_assets.engines.models.processors import load_processor
from mm_assets.engines.models.prompts import Prompts
from mm_assets.engines.models.registry import Model, get
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.images import decode
from mm_assets.lineage.refs import LanceRef
from mm_assets.settings import PredictSettings, Sampling, VllmSettings
from mm_assets_tests.kit.project import Project
from mm_assets_tests.kit.vllm_lab import NEEDS_VLLM, Asking, Photo, Said, lab, spoiling

pytestmark = [pytest.mark.vllm, pytest.mark.ray, NEEDS_VLLM]

HOW = PredictSettings(engine="vllm", max_new_tokens=12, vllm=VllmSettings(max_model_len=512))
IMAGES = 300
# Tokens of a block of vLLM's cache on a CPU: whole blocks are found again.
BLOCK = 128


@pytest.fixture(scope="module")
def model(finished: Project) -> Model:
    return get(finished.tables, finished.newest()["llava_checkpoint"].metadata["digest"])


@pytest.fixture(scope="module")
def folder(finished: Project, model: Model) -> Path:
    return local_folder(finished.tables, model.digest)


@pytest.fixture(scope="module")
def label(model: Model) -> Question:
    return Question.of(model, HOW)


@pytest.fixture(scope="module")
def words(label: Question) -> Question:
    """The same prompt, answered by whatever the model likes."""
    return replace(label, task="caption", answers={})


@pytest.fixture(scope="module")
def started(folder: Path, cluster: Cluster) -> Iterator[Asking]:
    """One engine for all tests; it shares what two questions about an image have in common."""
    with lab(folder, HOW, questions=2) as found:
        yield found


@pytest.fixture(scope="module")
def images(finished: Project) -> LanceRef:
    return finished.newest()["image_table"].ref


@pytest.fixture(scope="module")
def rows(finished: Project, images: LanceRef) -> pa.Table:
    """Of the images that are asked about."""
    found = finished.tables.open_at(images).scanner(
        columns=["image_id", "sha256", "width", "height"], filter="error is null", with_row_id=True
    ).to_table()  # fmt: skip
    return found.sort_by("sha256").slice(0, IMAGES)


@pytest.fixture(scope="module")
def photos(finished: Project, images: LanceRef, rows: pa.Table) -> list[Photo]:
    """Distinct images, of all labels, with their SHA-256."""
    stored = LanceImages(finished.tables, images).stored(rows)
    assert len(set(rows["sha256"].to_pylist())) == IMAGES
    return [(sha, decode(data, 10**8)[0]) for sha, data in zip(rows["sha256"].to_pylist(), stored, strict=True)]


def answers(said: list[Said]) -> list[Answer]:
    return [found.answer or Answer("", error=found.refused) for found in said]


def test_vllm_and_transformers_agree(started: Asking, folder: Path, label: Question, photos: list[Photo]) -> None:
    """By the same method, greedy and held to the labels, in float32 on the CPU."""
    ours = answers(started.ask(label, photos))
    writer = Writer(LoadedModel.load(folder, HOW), label, HOW.max_new_tokens)
    theirs = writer.answer([Picture(sha, image) for sha, image in photos])
    same = [one.label == other.label for one, other in zip(ours, theirs, strict=True)]
    assert sum(same) >= 0.99 * IMAGES
    assert {answer.confidence_kind for answer in (*ours, *theirs)} == {PATH}
    pairs = zip(same, ours, theirs, strict=True)
    assert max(abs(float(a.confidence or 0) - float(b.confidence or 0)) for alike, a, b in pairs if alike) < 0.01
    assert len({answer.label for answer in ours}) == 8


def test_captions_are_the_same_words(started: Asking, folder: Path, words: Question, photos: list[Photo]) -> None:
    few = photos[:40]
    ours = answers(started.ask(words, few))
    theirs = Writer(LoadedModel.load(folder, HOW), words, HOW.max_new_tokens).answer(
        [Picture(sha, image) for sha, image in few]
    )
    same = [one.text == other.text for one, other in zip(ours, theirs, strict=True)]
    assert sum(same) >= 0.95 * len(few)
    pairs = [(a, b) for alike, a, b in zip(same, ours, theirs, strict=True) if alike]
    assert [a.confidence for a, _ in pairs] == pytest.approx([b.confidence for _, b in pairs], abs=0.01)
    assert {answer.confidence_kind for answer in (*ours, *theirs)} == {MEAN}


def test_no_image_gets_the_answer_of_another_renderers(started: Asking, words: Question, photos: list[Photo]) -> None:
    """Only the SHA-256 tells the engine which image is which: two with one id get one answer."""
    few = photos[:60]
    alone = answers(started.ask(words, few))
    assert len({answer.confidence for answer in alone}) > 50  # each image has an answer of its own
    mixed = answers(started.ask(words, few, renderers=2))
    assert [answer.text for answer in mixed] == [answer.text for answer in alone]
    assert [answer.confidence for answer in mixed] == pytest.approx([answer.confidence for answer in alone], rel=1e-3)
    place = next(place for place, answer in enumerate(alone) if answer.text != alone[0].text)
    taken = answers(started.ask(words, [("one id", few[0][1]), ("one id", few[place][1])]))
    assert [answer.text for answer in taken] == [alone[0].text] * 2


def test_a_second_question_finds_the_image_computed(started: Asking, words: Question, photos: list[Photo]) -> None:
    long = [replace(words, prompt=f"{'look well ' * 40} {end}") for end in ("what is it?", "what else is there?")]
    cold, warm = started.ask_twice(long, ("never seen", photos[0][1].rotate(90)))
    assert (cold.prepared, cold.encoded) == (1, 1)
    assert (warm.prepared, warm.encoded) == (0, 0)
    assert (cold.cached_tokens, warm.cached_tokens) == (0, warm.tokens // BLOCK * BLOCK)
    assert warm.tokens > BLOCK


def test_what_is_drawn_is_drawn_again(started: Asking, words: Question, photos: list[Photo]) -> None:
    def said(seed: int) -> list[str | None]:
        how = HOW.model_copy(update={"sampling": Sampling(temperature=1.5, seed=seed)})
        return [answer.text for answer in answers(started.ask(words, photos[:12], how))]

    first = said(0)
    assert said(0) == first
    assert said(1) != first


def test_a_request_that_vllm_refuses_costs_one_answer(started: Asking, label: Question, photos: list[Photo]) -> None:
    good, refused, again = started.ask_nonsense(label, photos[0])
    assert refused.refused
    assert good.answer.label
    assert again.answer.label == good.answer.label


def test_an_image_on_which_the_engine_raises_is_one_error(
    started: Asking,
    finished: Project,
    cluster: Cluster,
    model: Model,
    label: Question,
    images: LanceRef,
    rows: pa.Table,
    photos: list[Photo],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two such images among twelve that one engine has in hand: the others get their answers."""
    wrong = {photos[6][0], photos[8][0]}
    monkeypatch.setattr(vllm_pipeline, "Renderer", spoiling(wrong))
    job = AnswerJob(finished.tables, cluster, images, model.digest, [label], HOW)
    asked = rows.slice(0, 12).append_column("question", [[0] * 12])
    found = [answer for part in run(job, list(cut_pieces(asked, 4))) for answer in part.answers]
    undisturbed = answers(started.ask(label, photos[:12]))
    for (sha, _), ours, expected in zip(photos[:12], found, undisturbed, strict=True):
        if sha in wrong:
            assert re.match(r"EngineEndedError: \w+Error: \w+", str(ours.error)), ours.error
        else:
            assert (ours.label, ours.error) == (expected.label, None)


def test_an_answer_cut_short_is_an_error(folder: Path, label: Question) -> None:
    class Cut:
        text, cumulative_logprob, token_ids = " this is a pho", -0.1, (1, 2)

    found = Wanted(label, Prompts(load_processor(folder)), HOW).answer("a", Cut())
    assert found == Answer("a", error="ValueError: the answer ' this is a pho' is none of the labels' answers")
