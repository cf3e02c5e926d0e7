"""The columns of `objects.lance` and `images.lance`; the schema of the images is in `schema.py`."""

import pyarrow as pa

from mm_assets.catalog import RAW_IMAGES
from mm_assets.engines.sources.source import LISTING, LISTING_COLUMNS
from mm_assets.lineage.columns import Column, Kind, handed_on, sources

OBJECTS = "objects"
IMAGES = "images"

OBJECTS_COLUMNS, OBJECTS_SCHEMA = LISTING_COLUMNS, LISTING

_LISTED = RAW_IMAGES.key
_BYTES = sources(_LISTED, "source_uri")

IMAGES_COLUMNS = (
    LISTING_COLUMNS[0].of_another((_LISTED, "image_id"), kind=Kind.KEY),
    *handed_on(_LISTED, LISTING_COLUMNS, "source_uri", "etag"),
    # Also for a file that is no usable image.
    Column("sha256", pa.string(), "SHA-256 of the file's bytes.", _BYTES),
    Column(
        "image",
        pa.large_binary(),
        "The file's bytes as they were; null where the object was rejected.",
        _BYTES,
        Kind.BLOB,
    ),
    Column("format", pa.string(), "Format of the file: JPEG, PNG, WEBP, GIF, BMP or TIFF.", _BYTES),
    Column("width", pa.int32(), "Width in pixels, EXIF orientation applied.", _BYTES),
    Column("height", pa.int32(), "Height in pixels, EXIF orientation applied.", _BYTES),
    Column("num_bytes", pa.int64(), "Bytes of the file.", sources(_LISTED, "source_uri", "size")),
    *handed_on(_LISTED, LISTING_COLUMNS, "label", "caption"),
    Column(
        "error",
        pa.string(),
        "Why the object could not be used, as `<reason>: <detail>`; null for a usable image.",
        sources(_LISTED, "source_uri", "error"),
    ),
)
