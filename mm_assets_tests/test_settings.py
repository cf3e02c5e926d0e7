"""Settings: profiles are valid, wrong values are refused by name."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from mm_assets.settings import (
    PROFILES,
    CurateSettings,
    SettingsError,
    TaskSettings,
    digest,
    load_settings,
    profile_path,
)


def tasks(**values: Any) -> str:
    """One task as an environment variable says it."""
    return json.dumps([{"task": "label", "prompt": "what?", "answer": "a {label}", **values}])


CAPTION_WITH_LABELS = tasks(task="caption", prompt="one of {labels}?", answer="{caption}")


@pytest.mark.parametrize("profile", sorted(path.stem for path in PROFILES.glob("*.yaml")))
def test_every_profile_of_the_package_is_valid(profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MM_PROFILE", profile)
    assert [task.task for task in load_settings().curate.tasks] == ["label"]


def test_the_gpu_profile_names_a_pinned_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MM_PROFILE", "gpu")
    settings = load_settings()
    assert settings.base.model_id == "llava-hf/llava-v1.6-mistral-7b-hf"
    assert settings.base.revision == "52320fb52229c8d942b1dcb8b63b3dc8087bc83b"
    assert (settings.train.precision, settings.train.learning_rate) == ("bf16", 1e-4)
    assert "{labels}" in settings.curate.tasks[0].prompt


@pytest.mark.parametrize(
    ("variable", "value", "named", "says"),
    [
        ("MM_PROFILE", "lokal", "MM_PROFILE", "known are gpu, local"),
        ("MM_CURATE__MAX_TOKENS", "-1", "MM_CURATE__MAX_TOKENS", "greater than 0"),
        ("MM_SOURCE", "no/such/folder", "MM_SOURCE", "there is no folder no/such/folder"),
        ("MM_SOURCE", "gs://bucket/photos", "MM_SOURCE", "give a folder"),
        ("MM_CURATE__LABELS", '["pool"]', "MM_CURATE__LABELS", "at least 2 items"),
        ("MM_CURATE__LABELS", '["pool", "pool"]', "MM_CURATE", "one class only"),
        ("MM_CURATE__TASKS", tasks(prompt="is this a {lable}?"), "MM_CURATE__TASKS__0__PROMPT", "{lable} is not known"),
        ("MM_CURATE__TASKS", tasks(prompt="is this a {label}?"), "MM_CURATE__TASKS__0__PROMPT", "may use {labels}"),
        ("MM_CURATE__TASKS", tasks(answer="a photo"), "MM_CURATE__TASKS__0__ANSWER", "must contain {label}"),
        ("MM_CURATE__TASKS", tasks(answer="{label}: {caption}"), "ANSWER", "{caption} is not known here"),
        ("MM_CURATE__TASKS", tasks(task="caption"), "MM_CURATE__TASKS__0__ANSWER", "must contain {caption}"),
        ("MM_CURATE__TASKS", tasks(task="caption", answer="{caption} {labels}"), "ANSWER", "may use {caption}"),
        ("MM_CURATE__TASKS", CAPTION_WITH_LABELS, "MM_CURATE__TASKS", "{labels} stands for nothing"),
        ("MM_CURATE__TASKS", tasks(task="describe"), "MM_CURATE__TASKS__0__TASK", "'label' or 'caption'"),
        ("MM_CURATE__TASKS", tasks(weight=0), "MM_CURATE__TASKS__0__WEIGHT", "greater than 0"),
        ("MM_CURATE__TASKS", tasks(words=1), "MM_CURATE__TASKS__0__WORDS", "Extra inputs are not permitted"),
        ("MM_CURATE__TASKS", json.dumps(json.loads(tasks()) * 2), "MM_CURATE__TASKS", "label is there twice"),
        ("MM_CURATE__TASKS", "[]", "MM_CURATE__TASKS", "at least 1 item"),
        ("MM_CURATE__TASKS", "a {label}", "MM_CURATE__TASKS", "takes JSON"),
        ("MM_PREDICT__SAMPLING__TEMPERATURE", "0.7", "MM_PREDICT", "drawing tokens needs engine: vllm"),
        ("MM_PREDICT__SAMPLING__TOP_P", "0", "MM_PREDICT__SAMPLING__TOP_P", "greater than 0"),
        ("MM_PREDICT__ENGINE", "tgi", "MM_PREDICT__ENGINE", "'transformers' or 'vllm'"),
        ("MM_PREDICT__ALSO", "caption", "MM_PREDICT__ALSO", '[{"task": "caption"}]'),
        ("MM_PREDICT__ALSO", '[{"task": "describe"}]', "MM_PREDICT__ALSO__0__TASK", "'label' or 'caption'"),
        ("MM_CURATE__LIMITS", '{"watermark": {}}', "MM_CURATE__LIMITS__WATERMARK", "give min, max or both"),
        ("MM_CURATE__LIMITS", '{"w": {"min": 2, "max": 1}}', "MM_CURATE__LIMITS__W", "min 2.0 is above max 1.0"),
        ("MM_CURATE__LIMITS", '{"w": {"least": 2}}', "MM_CURATE__LIMITS__W__LEAST", "Extra inputs"),
        ("MM_PREDICT__TASK", "describe", "MM_PREDICT__TASK", "'label' or 'caption'"),
        ("MM_PREDICT__PROMPT", "say {caption}", "MM_PREDICT__PROMPT", "{caption} is not known here"),
        ("MM_PREDICT__MAX_NEW_TOKENS", "0", "MM_PREDICT__MAX_NEW_TOKENS", "greater than 0"),
        ("MM_TRAIN__EPOCHS", "many", "MM_TRAIN__EPOCHS", "valid integer"),
        ("MM_PREDICT__MODEL", "newest", "MM_PREDICT__MODEL", "'latest' or 'production'"),
        ("MM_BASE__KIND", "huggingface", "MM_BASE", "needs model_id and revision"),
        ("MM_TRAIN__MODULES_TO_SAVE", "lm_head", "MM_TRAIN__MODULES_TO_SAVE", "takes JSON"),
        ("MM_TRAIN", "x", "MM_TRAIN", "takes JSON"),
        ("MM_SOURCE", "", "MM_SOURCE", "is empty"),
        ("MM_LAKE", " ", "MM_LAKE", "is empty"),
        ("MM_CURATE__LIMITS", '{"luminance": {"max": Infinity}}', "MM_CURATE__LIMITS__LUMINANCE__MAX", "finite"),
        ("MM_CURATE__LABELS", '["pool", ""]', "MM_CURATE__LABELS", "at least 1 character"),
        (
            "MM_CURATE__MIN_SHARPNESS",
            "20",
            "MM_CURATE__MIN_SHARPNESS",
            """write MM_CURATE__LIMITS='{"sharpness": {"min""",
        ),
        ("MM_CURATE__MAX_CLIPPED", "0.1", "MM_CURATE__MAX_CLIPPED", """write MM_CURATE__LIMITS='{"clipped": {"max"""),
        ("MM_CURATE", '{"min_entropy": 2}', "MM_CURATE", "write curate.limits: {entropy: {min: 2}}"),
        ("MM_LAEK", "x", "MM_LAEK", "unknown setting MM_LAEK: did you mean MM_LAKE"),
        ("MM_TRAIN__EPOCH", "3", "MM_TRAIN__EPOCH", "did you mean MM_TRAIN__EPOCHS"),
        ("MM_COLOUR_OF_THE_SKY", "x", "MM_COLOUR_OF_THE_SKY", "unknown setting MM_COLOUR_OF_THE_SKY: docs/settings.md"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(
    variable: str, value: str, named: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    assert named in str(refusal.value)
    assert says in str(refusal.value)


def test_each_wrong_field_has_its_own_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MM_CURATE__MAX_TOKENS", "-1")
    monkeypatch.setenv("MM_TRAIN__EPOCHS", "0")
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    assert len(str(refusal.value).splitlines()) == 2


def test_a_lake_inside_the_source_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MM_SOURCE", str(tmp_path))
    monkeypatch.setenv("MM_LAKE", str(tmp_path / "lake"))
    with pytest.raises(SettingsError, match="MM_LAKE"):
        load_settings()


def test_a_profile_of_ones_own_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (PROFILES / "local.yaml").read_text().replace("epochs: 6", "epochs: 2")
    own = tmp_path / "mine.yaml"
    own.write_text(text)
    monkeypatch.setenv("MM_PROFILE", str(own))
    assert profile_path(str(own)) == own
    assert load_settings().train.epochs == 2


def test_the_environment_overrides_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MM_TRAIN__LEARNING_RATE", "0.5")
    monkeypatch.setenv("MM_CURATE__LABELS", '["pool", "gym"]')
    settings = load_settings()
    assert settings.train.learning_rate == 0.5
    assert settings.curate.labels == ["pool", "gym"]


def test_tasks_and_limits_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    caption = {"task": "caption", "prompt": "Describe, one of {labels}.", "answer": "{caption}", "weight": 0.5}
    monkeypatch.setenv("MM_CURATE__TASKS", json.dumps([*json.loads(tasks(answer="{label} of {labels}")), caption]))
    monkeypatch.setenv("MM_CURATE__LIMITS", '{"watermark": {"max": 0.5}, "faces": {"min": 1, "max": 1}}')
    curate = load_settings().curate
    assert [(task.task, task.weight) for task in curate.tasks] == [("label", 1), ("caption", 0.5)]
    assert {name: (limit.min, limit.max) for name, limit in curate.limits.items()} == {
        "sharpness": (60, None),  # the profile's
        "luminance": (20, 230),
        "clipped": (None, 0.5),
        "entropy": (1, None),
        "watermark": (None, 0.5),
        "faces": (1, 1),
    }


def test_a_digest_changes_with_any_value(monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_settings()
    monkeypatch.setenv("MM_CURATE__LIMITS", '{"entropy": {"min": 2.5}}')
    after = load_settings()
    assert digest(before.curate) != digest(after.curate)
    assert digest(before.train) == digest(after.train)
    # How much is done between two commits decides nothing.
    monkeypatch.setenv("MM_INGEST__BATCH_ROWS", "7")
    assert digest(load_settings().ingest.limits()) == digest(before.ingest.limits())


# Of the profiles, as they were digested when these bounds had names of their own.
FORMER_DIGESTS = {"local": "117d960f1711", "gpu": "74e036e34f2f"}


@pytest.mark.parametrize("profile", FORMER_DIGESTS)
def test_a_dataset_of_before_is_not_built_again_for_other_words(profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MM_PROFILE", profile)
    assert digest(load_settings().curate.decides()) == FORMER_DIGESTS[profile]
    for limits in ('{"sharpness": {"min": 61}}', '{"sharpness": {"max": 500}}', '{"faces": {"min": 1}}'):
        monkeypatch.setenv("MM_CURATE__LIMITS", limits)
        assert digest(load_settings().curate.decides()) != FORMER_DIGESTS[profile]


def test_a_score_without_a_limit_is_not_as_it_was_with_a_bound_that_bounded_nothing() -> None:
    task = TaskSettings(task="label", prompt="what?", answer="{label}")
    limits = {"luminance": {"min": 0}, "clipped": {"max": 1}, "entropy": {"min": 0}}
    bounded = CurateSettings(tasks=[task], limits=limits | {"sharpness": {"min": 0}})
    assert digest(bounded.decides()) != digest(CurateSettings(tasks=[task], limits=limits).decides())
    other_end = CurateSettings(tasks=[task], limits=limits | {"sharpness": {"max": 500}}).decides()
    assert (other_end["min_sharpness"], other_end["limits"]) == (0.0, {"sharpness": {"min": None, "max": 500.0}})


def test_a_profile_that_names_a_bound_as_before_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text((PROFILES / "local.yaml").read_text().replace("  limits:", "  min_sharpness: 60.0\n  limits:"))
    monkeypatch.setenv("MM_PROFILE", str(own))
    with pytest.raises(SettingsError, match=r"min_sharpness .* write curate\.limits: \{sharpness: \{min: 60\.0\}\}"):
        load_settings()


def test_the_documented_settings_are_those_of_the_code() -> None:
    docs = Path(__file__).parent.parent / "docs"
    generated = runpy.run_path(str(docs / "generate_settings.py"))["document"]()
    assert (docs / "settings.md").read_text() == generated, "run `python docs/generate_settings.py`"


@pytest.mark.parametrize(
    ("text", "says"), [("a: [1", "is no YAML"), ("- a\n- b", "holds no settings"), ("", "holds no")]
)
def test_a_broken_profile_is_refused_by_name(
    text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.yaml").write_text(text)
    monkeypatch.setenv("MM_PROFILE", str(tmp_path / "own.yaml"))
    with pytest.raises(SettingsError, match=says):
        load_settings()


def test_the_engine_decides_how_labels_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().predict.label_method == "likelihood"
    monkeypatch.setenv("MM_PREDICT__ENGINE", "vllm")
    predict = load_settings().predict
    assert predict.label_method == predict.by_transformers().label_method == predict.decoding().label_method == "greedy"
    monkeypatch.setenv("MM_PREDICT__LABEL_METHOD", "likelihood")
    with pytest.raises(SettingsError, match=r"MM_PREDICT\).*vllm chooses labels by the method greedy"):
        load_settings()
