"""Pack the production model for serving, keep it in the lake, and upload it where the settings say so."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mm_assets.catalog import EVALUATION, SERVING_BUNDLE
from mm_assets.engines.answering.questions import main_task
from mm_assets.engines.lake.commits import commit, no_op
from mm_assets.engines.lake.rows import is_in
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import (
    ARCHIVE,
    bundle_staging,
    bundle_uri,
    keep_bundle,
    local_bundle,
    local_folder,
    read_text,
)
from mm_assets.engines.models.registry import TABLE as MODELS
from mm_assets.engines.models.registry import Model, get
from mm_assets.engines.store.upload import Upload, is_uploaded, upload
from mm_assets.history.opening import open_table
from mm_assets.lineage.ancestry import walk
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.promotions import promotion_of
from mm_assets.lineage.records import Record
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.settings import ServeSettings
from mm_assets.stages.evaluate.tables import current_production
from mm_assets.stages.serve import card as cards
from mm_assets.stages.serve import properties, request
from mm_assets.stages.serve.archive import Content, pack
from mm_assets.stages.serve.bundles import Bundle, find, register, uploaded_to
from mm_assets.stages.serve.card import MIN_VLLM_VERSION, Base, Story, card
from mm_assets.stages.serve.license import CARD, license_of
from mm_assets.stages.serve.tables import BUNDLES, BUNDLES_SCHEMA

ASSET = SERVING_BUNDLE.key
# Parts of a model's folder that serving does not need: the merged adapter, and leftovers of the training.
LEFT_OUT_FOLDERS = ("adapter", "checkpoint-", "runs")
LEFT_OUT_FILES = ("training_args.bin", "trainer_state.json", "optimizer.pt", "scheduler.pt", "rng_state")


@dataclass(frozen=True)
class BundlePlan:
    """A bundle before it is packed.

    Args:
        model: the model whose files are packed.
        texts: the texts that are packed beside them, by file name.
        properties: the values of serving.properties.
        recipe: what the bundle is made from, as JSON values.
        promotion: the evaluation that promoted the model.
    """

    model: Model
    texts: dict[str, str]
    properties: dict[str, str]
    recipe: dict[str, object]
    promotion: Record

    @property
    def id(self) -> str:
        """Digest of the content; the same model with the same texts is the same bundle."""
        whole = json.dumps([self.model.digest, self.texts], sort_keys=True)
        return hashlib.sha256(whole.encode()).hexdigest()[:16]

    @property
    def uri(self) -> str:
        """Where the bundle lies, relative to the lake."""
        return bundle_uri(f"{self.model.digest}-{self.id}")


def bundle_production(step: StepContext, lake: Lake, settings: ServeSettings, precision: str) -> StepResult:
    """Pack the production model of the pinned evaluation, unless its bundle exists.

    Args:
        step: the step with its pinned inputs.
        lake: read and written.
        settings: what is packed beside the weights, and where the bundle is uploaded.
        precision: precision of the predictions.

    Raises:
        RefusalError: the model's files or its promoting evaluation are missing, or the bucket refuses the upload.
    """
    open_table(lake, step, BUNDLES, BUNDLES_SCHEMA, [ASSET])
    evaluation = step.inputs[EVALUATION.key]
    digest = current_production(lake.open_at(evaluation.ref))
    if digest is None:
        return _nothing(step, lake)
    plan = _plan(step, lake, digest, settings, precision)
    bundle = find(lake, plan.id)
    packed = bundle is None
    if bundle is None:
        bundle = _packed(step, lake, plan, settings)
    else:
        step.log(f"bundle {bundle.id} of model {digest} is there: nothing to pack")
    before = bundle
    bundle = _uploaded(step, lake, bundle, settings, packed=packed)
    result = StepResult(_metadata(plan, bundle, packed=packed))
    if packed or bundle != before or not _names(step, bundle.id):
        register(lake, bundle, step.run_id, step.properties([ASSET], 2, {ASSET: result}))
    return result


def _names(step: StepContext, bundle_id: str | None) -> bool:
    """Whether the asset's last commit carries a record that names this bundle; None stands for no bundle."""
    record, ref = step.last_record(ASSET), step.own[ASSET].last_commit
    return record is not None and record.ref == ref and record.metadata.get("bundle") == bundle_id


def _nothing(step: StepContext, lake: Lake) -> StepResult:
    step.log("no model was promoted yet: there is nothing to serve, and no bundle")
    result = StepResult(
        {"rows": 0, "rows_computed": 0, "decision": "no model was promoted yet: there is nothing to pack"}
    )
    if not _names(step, None):
        commit(lake, BUNDLES, no_op, step.properties([ASSET], 1, {ASSET: result}))
    return result


def _plan(step: StepContext, lake: Lake, digest: str, settings: ServeSettings, precision: str) -> BundlePlan:
    model = get(lake, digest)
    promotion = promotion_of(digest, step.ref(EVALUATION.key), step.records)
    if promotion is None:
        raise RefusalError(
            f"the lake's history (lineage.lance) has lost the evaluation that promoted model {digest}, and the "
            "bundle's card needs its figures: train and promote a model again"
        )
    main, tasks = main_task(model), [item["task"] for item in model.recipe["tasks"]]
    requests = {
        task: request.chat_request(settings.model_name, request.prompt_of(model.recipe, task))
        for task in sorted(tasks, key=lambda task: task != main)
    }
    base = _base(lake, model, settings.license)
    chosen = properties.properties_of(settings.bundle(), precision)
    text = card(Story(model, base, promotion, _ancestors(promotion, step.records), requests, settings.model_name))
    texts = {
        cards.NAME: text,
        properties.NAME: properties.as_text(chosen),
        request.NAME: request.as_text(requests[main]),
    }
    recipe = {
        "model": digest,
        "promoted_by": promotion.data_version,
        "precision": precision,
        "license": base.license,
        **settings.bundle().model_dump(mode="json", exclude={"license"}),
    }
    return BundlePlan(model, texts, chosen, recipe, promotion)


def _ancestors(promotion: Record, history: Mapping[str, Record]) -> list[Record]:
    """The records of an evaluation and of everything that it was made from, oldest first, each version once."""
    records = sorted(walk(promotion, history), key=lambda record: (record.at, record.asset))
    return list({(record.asset, record.data_version): record for record in records}.values())


def _base(lake: Lake, model: Model, license_chosen: str | None) -> Base:
    """The base model for the card; its files may have expired, because the bundle needs none of them."""
    digest = model.recipe["base_model"]
    rows = lake.open(MODELS).to_table(columns=["name", "recipe"], filter=is_in("digest", [digest])).to_pylist()
    if not rows:
        raise RefusalError(f"the base model {digest} is not in the registry any more: materialize base_model again")
    recipe = json.loads(rows[0]["recipe"])
    built = recipe["builder"] if recipe["kind"] == "built" else None
    license_name, license_text = license_of(license_chosen, read_text(lake, digest, CARD), built)
    return Base(rows[0]["name"], digest, license_name, license_text, None if built else recipe["revision"])


def _packed(step: StepContext, lake: Lake, plan: BundlePlan, settings: ServeSettings) -> Bundle:
    folder = local_folder(lake, plan.model.digest)
    contents: dict[str, Content] = {name: text.encode() for name, text in plan.texts.items()}
    contents = {**served_files(folder), **contents}
    with bundle_staging(lake) as staged:
        archive = staged / ARCHIVE
        packed = pack(archive, contents, step.log, settings.gzip_level)
        keep_bundle(lake, archive, plan.uri, packed.sha256, settings.upload_checksum, step.log)
    step.log(f"packed {plan.uri}: {packed.num_bytes:,} bytes, SHA-256 {packed.sha256}")
    return Bundle(
        id=plan.id,
        model_digest=plan.model.digest,
        recipe={**plan.recipe, "files": packed.files},
        sha256=packed.sha256,
        num_bytes=packed.num_bytes,
        uri=plan.uri,
        properties=plan.properties,
        card=plan.texts[cards.NAME],
        uploaded_to=uploaded_to(lake, plan.id, packed.sha256),
    )


def served_files(folder: Path) -> dict[str, Path]:
    """The files of a model that serving needs, by their name in the bundle."""
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path for name, path in names.items() if not _is_left_out(name)}


def _is_left_out(name: str) -> bool:
    top, _, below = name.partition("/")
    return top.startswith(LEFT_OUT_FOLDERS) if below else name.startswith(LEFT_OUT_FILES)


def _uploaded(step: StepContext, lake: Lake, bundle: Bundle, settings: ServeSettings, *, packed: bool) -> Bundle:
    """Upload the bundle where the settings say so, and return its row as it is then."""
    if settings.upload_to is None:
        return bundle
    if packed:  # a refused or killed upload must not lead to packing again
        register(lake, bundle, step.run_id, step.properties([ASSET], 1))
    uri = f"{settings.upload_to}/{bundle.uri.partition('/')[2]}"
    setting = "serve.upload_to (MM_SERVE__UPLOAD_TO)"
    request = Upload(uri, bundle.num_bytes, bundle.sha256, setting, settings.upload_checksum)
    if is_uploaded(lake.s3, request):
        step.log(f"{uri} is there already")
        return replace(bundle, uploaded_to=uri)
    with local_bundle(lake, bundle.uri, bundle.sha256) as path:
        upload(lake.s3, request, path, step.log)
    return replace(bundle, uploaded_to=uri)


def _metadata(plan: BundlePlan, bundle: Bundle, *, packed: bool) -> dict[str, object]:
    """The metadata of the materialization."""
    judged = plan.promotion.metadata
    return {
        "rows": 1,
        "rows_computed": int(packed),
        "bundle": bundle.id,
        "digest": bundle.model_digest,
        "uri": bundle.uri,
        "uploaded_to": bundle.uploaded_to,
        "sha256": bundle.sha256,
        "num_bytes": bundle.num_bytes,
        "license": bundle.recipe["license"],
        "min_vllm_version": MIN_VLLM_VERSION,
        "promoted_by": plan.promotion.data_version,
        "measure": judged["measure"],
        "accuracy": judged["accuracy"],
        "files": [{"file": name, "bytes": size} for name, size in bundle.recipe["files"].items()],
    }
