"""The way of a bundle, and from a model to its bundles."""

from mm_assets.engines.lake.tables import Lake
from mm_assets.operations.trace.lines import line
from mm_assets_tests.kit.production import bundled, judged
from mm_assets_tests.kit.tracing import of_kind, one, traces_of


def test_a_model_shows_its_bundles_and_a_bundle_its_model(tables: Lake) -> None:
    judged(tables)
    first, older = bundled(tables).metadata, bundled(tables, mode="rolling_batch").metadata
    model = one(tables, first["digest"])
    assert [node.id for node in of_kind(model.down, "bundle")] == [first["bundle"], older["bundle"]]
    for metadata in (first, older):
        for what in (metadata["bundle"], metadata["bundle"][:8], metadata["sha256"]):
            trace = one(tables, what)
            assert (trace.kind, trace.id) == ("bundle", metadata["bundle"])
            assert {name: trace.facts[name] for name in ("uri", "sha256", "num_bytes", "uploaded_to")} == {
                name: metadata[name] for name in ("uri", "sha256", "num_bytes", "uploaded_to")
            }
            (checkpoint,) = of_kind(trace.up, "checkpoint")
            assert checkpoint.id == first["digest"]
            assert {node.facts["asset"] for node in of_kind(trace.up, "version")} >= {"sft_dataset", "base_model"}


def test_the_line_of_a_bundle(tables: Lake) -> None:
    judged(tables)
    metadata = bundled(tables).metadata
    (node,) = of_kind(one(tables, metadata["digest"]).down, "bundle")
    name, facts = line(node)
    assert name == f"bundle {metadata['bundle']}"
    assert facts[:2] == [metadata["uri"], f"{metadata['num_bytes']:,} bytes"]
    assert not any("uploaded" in fact for fact in facts)


def test_a_lake_without_bundles_can_be_traced(tables: Lake) -> None:
    digest = judged(tables).metadata["production"]
    assert of_kind(one(tables, digest).down, "bundle") == []
    assert traces_of(tables, "0" * 64) == []
