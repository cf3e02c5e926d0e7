"""All tables of a lake, in the order in which data flows; the history comes last, for it is written by all others."""

from mm_assets.engines.models.registry import TABLE as MODELS
from mm_assets.history.rows import TABLE as LINEAGE
from mm_assets.stages.curate.tables import SFT
from mm_assets.stages.evaluate.tables import EVALUATIONS
from mm_assets.stages.ingest.tables import IMAGES, OBJECTS
from mm_assets.stages.predict.tables import PREDICTIONS
from mm_assets.stages.serve.tables import BUNDLES

TABLES = (OBJECTS, IMAGES, SFT, MODELS, EVALUATIONS, PREDICTIONS, BUNDLES, LINEAGE)
