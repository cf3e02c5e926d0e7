"""The columns of `objects.lance` and `images.lance`."""

import lance
import pyarrow as pa

from mm_assets.engines.lake.tables import key_field
from mm_assets.engines.sources.source import LISTING

OBJECTS = "objects"
IMAGES = "images"

OBJECTS_SCHEMA = pa.schema([key_field("image_id"), *list(LISTING)[1:]])

IMAGES_SCHEMA = pa.schema(
    [
        key_field("image_id"),
        pa.field("source_uri", pa.string()),
        pa.field("etag", pa.string()),
        pa.field("sha256", pa.string()),  # of the file's bytes, also where they are no usable image
        lance.blob_field("image"),  # the file's bytes, as they were; null where the object was rejected
        pa.field("format", pa.string()),
        pa.field("width", pa.int32()),  # pixels, EXIF orientation applied
        pa.field("height", pa.int32()),
        pa.field("num_bytes", pa.int64()),
        pa.field("label", pa.string()),
        pa.field("caption", pa.string()),
        pa.field("error", pa.string()),  # `<reason>: <detail>` of a rejected object
    ]
)

# Cells of a row whose object is another one (its etag, its place, its words) with the same bytes.
UPDATED_CELLS = pa.schema(
    [
        pa.field("_rowid", pa.uint64()),
        *(IMAGES_SCHEMA.field(name) for name in ("sha256", "source_uri", "etag", "label", "caption")),
    ]
)
