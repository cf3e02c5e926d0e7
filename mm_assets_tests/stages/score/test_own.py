"""Scorers, models and words of one's own: the documented example runs, and what is wrong is refused by name."""

import shutil
import sys
from pathlib import Path

import pytest

from mm_assets.definitions import build
from mm_assets.own_code import modules
from mm_assets.settings import ScoreSettings, SettingsError, load_settings
from mm_assets.stages.score.registry import all_scorers
from mm_assets_tests.kit.project import Project

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a user's: package and profile, nothing of it installed."""
    folder = tmp_path / "mine"
    shutil.copytree(EXAMPLES, folder)
    (folder / "broken.py").write_text("def x(:\n")
    for name in [name for name in sys.modules if name.startswith("my_package")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.mark.ray
def test_the_documented_example_runs(few_pictures: Path, tmp_path: Path) -> None:
    """By the command, in the user's folder: Ray's workers are given the package, which they could not import."""
    shutil.copytree(EXAMPLES, tmp_path / "mine")
    profile = (EXAMPLES / "watermark.yaml").read_text().replace("max: 0.5", "max: 0.01").replace("60.0", "0.0")
    (tmp_path / "mine" / "watermark.yaml").write_text(profile)
    env = {"MM_PROFILE": "watermark.yaml"}
    project = Project(tmp_path / "lake", few_pictures, tmp_path / "home", env)
    wanted = "raw_images,image_table,scores/watermark,scores/near_duplicates,scores/phash,base_model,sft_dataset"
    others = ",scores/looks,scores/sharpness,scores/exposure,scores/entropy"
    found = project.command(
        "asset", "materialize", "--select", wanted + others, "-m", "mm_assets.definitions", cwd=tmp_path / "mine"
    )
    assert found.returncode == 0, found.stderr[-3000:]
    rows = project.tables.open("images").to_table(filter="error is null").to_pylist()
    assert {row["watermark_rev"] for row in rows} == {"1"}
    assert {row["watermark_error"] for row in rows} == {None}
    lengths = [sum(value * value for value in row["looks"]) for row in rows]
    assert lengths == pytest.approx([1.0] * len(rows), abs=1e-4)
    assert len({tuple(row["looks"]) for row in rows}) > 1
    over = {row["image_id"] for row in rows if row["watermark"] > 0.01}
    assert 0 < len(over) < len(rows)
    examples = project.tables.open("sft").to_table().to_pylist()
    reasons = {row["images"][0]["image_id"]: row["left_out"] for row in examples}
    assert {name for name, why in reasons.items() if (why or "").startswith("limit: watermark")} == over
    assert {message["role"] for row in examples for message in row["messages"] or []} == {"user", "assistant"}
    asked = {row["messages"][0]["content"][1]["text"] for row in examples if row["messages"]}
    assert asked == {"What is shown here? One of: beach, gym, pool."}
    assert project.newest()["base_model"].metadata["name"] == "my_package.models:build"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (
            "nowhere.scorers:x",
            "nowhere.scorers:x cannot be imported .*install its package, or call dagster in the folder",
        ),
        ("my_package.scorers:missing", r"my_package.scorers:missing: my_package.scorers \(.*\) has no missing"),
        ("broken:x", "broken:x cannot be imported: SyntaxError"),
        ("my_package.scorers:grey", "is no scorer: decorate a function with @scorer"),
        ("mm_assets.stages.score.builtin.sharpness:sharpness", "there is a scorer named sharpness already"),
    ],
)
def test_an_import_path_that_leads_nowhere_is_refused(examples: Path, path: str, says: str) -> None:
    with pytest.raises(SettingsError, match=rf"score\.own \(MM_SCORE__OWN\).*{says}"):
        all_scorers(ScoreSettings(own=[path]))


FAULTS = """
import pyarrow as pa
from mm_assets import Scorer

class Fine(Scorer):
    revision, columns = "1", {"fine": pa.float32()}
    def __call__(self, images):
        return [{"fine": 1.0} for _ in images]

class Unrevised(Scorer):
    columns = {"x": pa.float32()}
class Uncalled(Scorer):
    revision, columns = "1", {"x": pa.float32()}
class Quoted(Fine):
    revision = "it's"
class Empty(Fine):
    columns = {}
class Untyped(Fine):
    columns = {"x": float}
class Spaced(Fine):
    columns = {"a b": pa.float32()}
class Small(Fine):
    batch_size = 0
class Greedy(Fine):
    resources = {"gpus": 1}
class Curious(Fine):
    reads = ("label", "sharpness")
class Broken(Fine):
    def __init__(self):
        raise OSError("no disk")
class HTTPLooks(Fine):
    columns = {"http": pa.float32()}

made = Fine()
"""


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Unrevised", "the class says no revision"),
        ("Uncalled", "the class says no __call__"),
        ("Quoted", 'revision "it\'s": give text without blanks and quotes'),
        ("Empty", "columns: name at least one"),
        ("Untyped", r"column x: give an Arrow type, such as pa.float32\(\)"),
        ("Spaced", "'a b' cannot be the name of a column"),
        ("Small", "batch_size 0: give a whole number above 0"),
        ("Greedy", r"resources: give mm_assets.Resources\("),
        ("Curious", "reads: sharpness is none of image_id, source_uri"),
        ("Broken", r"\(\) failed: OSError: no disk"),
    ],
)
def test_what_a_class_says_wrongly_is_refused(examples: Path, name: str, says: str) -> None:
    (examples / "faulty.py").write_text(FAULTS)
    with pytest.raises(SettingsError, match=rf"score\.own \(MM_SCORE__OWN\): faulty:{name}.*{says}"):
        all_scorers(ScoreSettings(own=[f"faulty:{name}"]))


def test_a_class_or_an_instance_is_named(examples: Path) -> None:
    (examples / "faulty.py").write_text(FAULTS)
    for path in ("faulty:Fine", "faulty:made"):
        assert list(all_scorers(ScoreSettings(own=[path]))) == ["sharpness", "exposure", "entropy", "phash", "fine"]
    assert "http_looks" in all_scorers(ScoreSettings(own=["faulty:HTTPLooks"]))


def test_a_column_that_is_there_already_is_refused(examples: Path) -> None:
    (examples / "clash.py").write_text(
        "import pyarrow as pa\nfrom mm_assets import scorer\n"
        "@scorer('1', width=pa.int32())\ndef size(image):\n    return {'width': image.width}\n"
    )
    with pytest.raises(SettingsError, match="has a column width already"):
        all_scorers(ScoreSettings(own=["clash:size"]))


def test_resources_and_limits_of_nobody_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"score\.resources .*no scorer blur; known are entropy, exposure"):
        all_scorers(ScoreSettings(resources={"blur": {"cpus": 2}}))
    with pytest.raises(
        SettingsError, match=r"score\.error_budgets \(MM_SCORE__ERROR_BUDGETS\): no scorer phsah; known"
    ):
        all_scorers(ScoreSettings(error_budgets={"phsah": 0.0}))
    monkeypatch.setenv("MM_CURATE__LIMITS", '{"watermark": {"max": 0.5}}')
    with pytest.raises(SettingsError, match=r"curate\.limits .*no scorer has a column watermark; known are clipped"):
        build(load_settings())


def test_a_builder_of_nowhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MM_BASE__BUILDER", "my_models.nowhere:build")
    with pytest.raises(SettingsError, match=r"base.builder \(MM_BASE__BUILDER\): .*No module named 'my_models'"):
        build(load_settings())


def test_an_own_scorer_is_an_asset_and_a_limit_makes_the_dataset_read_it(
    examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MM_SCORE__OWN", '["my_package.scorers:watermark"]')
    keys = {spec.key.to_user_string(): spec for spec in build(load_settings()).resolve_all_asset_specs()}
    assert "more edges the lower right corner" in (keys["scores/watermark"].description or "")
    assert "scores/watermark" not in {dep.asset_key.to_user_string() for dep in keys["sft_dataset"].deps}
    monkeypatch.setenv("MM_CURATE__LIMITS", '{"watermark": {"max": 0.5}}')
    keys = {spec.key.to_user_string(): spec for spec in build(load_settings()).resolve_all_asset_specs()}
    assert "scores/watermark" in {dep.asset_key.to_user_string() for dep in keys["sft_dataset"].deps}
    # What was built before, and for others, does not know it.
    assert set(all_scorers(ScoreSettings())) == {"sharpness", "exposure", "entropy", "phash"}


def test_workers_are_given_the_top_level_package(examples: Path) -> None:
    assert modules(["my_package.scorers:watermark", "my_package.scorers:other"]) == [str(examples / "my_package")]
