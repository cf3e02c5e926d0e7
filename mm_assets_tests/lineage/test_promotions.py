"""Which evaluation is the last promotion, and what it was made from."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.progress import Progress
from mm_assets.lineage.promotions import last_promotion, made_from
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import LanceRef


def made(key: str, asset: str, version: int, inputs: Iterable[Record] = (), **metadata: Any) -> Record:
    ref = LanceRef("t", "0" * 32, version)
    read = tuple(item.as_input() for item in inputs)
    return Record(key, asset, ref, "run", "step", "1", read, metadata, Progress(), datetime.now(UTC), False)


def by_id(*records: Record) -> dict[str, Record]:
    return {record.id: record for record in records}


def test_before_the_first_promotion_there_is_none() -> None:
    assert last_promotion({}) is None
    assert last_promotion(by_id(made("1", "evaluation", 2, promoted=False), made("2", "evaluation", 3))) is None


def test_the_newest_promotion_and_of_its_materializations_the_first() -> None:
    old, new = made("1", "evaluation", 2, promoted=True), made("2", "evaluation", 4, promoted=True)
    again = replace(made("3", "evaluation", 4, promoted=True), reused=True)
    refused = made("4", "evaluation", 5, promoted=False)
    assert last_promotion(by_id(old, new, again, refused)) is new


def test_what_a_record_was_made_from() -> None:
    images = made("i", "image_table", 3)
    scores = made("s", "scores/entropy", 5, [images])
    dataset = made("d", "sft_dataset", 2, [scores, images])
    known = by_id(images, scores, dataset)
    assert made_from(dataset, "scores/entropy", known) is scores
    assert made_from(dataset, "image_table", known) is images
    assert made_from(dataset, "scores/phash", known) is None
    with pytest.raises(RefusalError, match="has lost image_table"):
        made_from(dataset, "scores/phash", by_id(scores, dataset))
