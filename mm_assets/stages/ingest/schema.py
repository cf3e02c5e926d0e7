"""The schema of `images.lance`: its blobs are of a type of Lance's own, and so this file imports Lance."""

import pyarrow as pa

from mm_assets.engines.lake.fields import schema_of
from mm_assets.stages.ingest.tables import IMAGES_COLUMNS

IMAGES_SCHEMA = schema_of(IMAGES_COLUMNS)

# Cells of a row whose object is another one (its etag, its place, its words) with the same bytes.
UPDATED_CELLS = pa.schema(
    [
        pa.field("_rowid", pa.uint64()),
        *(IMAGES_SCHEMA.field(name) for name in ("sha256", "source_uri", "etag", "label", "caption")),
    ]
)
