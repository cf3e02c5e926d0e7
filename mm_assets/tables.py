"""All tables of a lake, in the order in which data flows; the history comes last, for it is written by all others."""

from mm_assets.curate.tables import SFT
from mm_assets.engines.lineage_rows import TABLE as LINEAGE
from mm_assets.engines.model_store import TABLE as MODELS
from mm_assets.evaluate.tables import EVALUATIONS
from mm_assets.ingest.tables import IMAGES, OBJECTS
from mm_assets.predict.tables import PREDICTIONS
from mm_assets.serve.tables import BUNDLES

TABLES = (OBJECTS, IMAGES, SFT, MODELS, EVALUATIONS, PREDICTIONS, BUNDLES, LINEAGE)
