"""The way of a bundle, and from a model to its bundles."""

from mm_assets.engines.lake.tables import Lake
from mm_assets.operations.trace.lines import line
from mm_assets_tests.kit.production import bundled, judged
from mm_assets_tests.kit.tracing import asked, of_kind, one


def test_a_model_shows_its_bundles_and_a_bundle_its_model(tables: Lake) -> None:
    judged(tables)
    first, older = bundled(tables).metadata, bundled(tables, mode="rolling_batch").metadata
    model = one(tables, first["digest"])
    assert [node.id for node in of_kind(model.down, "bundle")] == [first["bundle"], older["bundle"]]
    for said in (first, older):
        for what in (said["bundle"], said["bundle"][:8], said["sha256"]):
            found = one(tables, what)
            assert (found.kind, found.id) == ("bundle", said["bundle"])
            assert {name: found.said[name] for name in ("uri", "sha256", "num_bytes", "uploaded_to")} == {
                name: said[name] for name in ("uri", "sha256", "num_bytes", "uploaded_to")
            }
            (checkpoint,) = of_kind(found.up, "checkpoint")
            assert checkpoint.id == first["digest"]
            assert {node.said["asset"] for node in of_kind(found.up, "version")} >= {"sft_dataset", "base_model"}


def test_the_line_of_a_bundle(tables: Lake) -> None:
    judged(tables)
    said = bundled(tables).metadata
    (node,) = of_kind(one(tables, said["digest"]).down, "bundle")
    name, facts = line(node)
    assert name == f"bundle {said['bundle']}"
    assert facts[:2] == [said["uri"], f"{said['num_bytes']:,} bytes"]
    assert not any("uploaded" in fact for fact in facts)


def test_a_lake_without_bundles_can_be_traced(tables: Lake) -> None:
    digest = judged(tables).metadata["production"]
    assert of_kind(one(tables, digest).down, "bundle") == []
    assert asked(tables, "0" * 64) == []
