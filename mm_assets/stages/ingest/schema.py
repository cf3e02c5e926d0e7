"""The schema of `images.lance`; its blobs have a type of Lance's own, so this file imports Lance."""

import pyarrow as pa

from mm_assets.engines.lake.fields import schema_of
from mm_assets.stages.ingest.tables import IMAGES_COLUMNS

IMAGES_SCHEMA = schema_of(IMAGES_COLUMNS)

# Cells to write where an object has another place, etag, label or caption, and the same bytes.
UPDATED_CELLS = pa.schema(
    [
        pa.field("_rowid", pa.uint64()),
        *(IMAGES_SCHEMA.field(name) for name in ("sha256", "source_uri", "etag", "label", "caption")),
    ]
)
