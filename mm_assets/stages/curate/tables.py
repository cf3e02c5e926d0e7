"""The columns of `sft.lance`: one row per image and task, an example or the reason why it is none."""

import pyarrow as pa

from mm_assets.engines.lake.tables import key_field

SFT = "sft"

_PART = pa.struct([("type", pa.string()), ("text", pa.string())])
_MESSAGE = pa.struct([("role", pa.string()), ("content", pa.list_(_PART))])

SFT_SCHEMA = pa.schema(
    [
        key_field("example_id"),  # `<task>:<image_id>`
        pa.field("task", pa.string()),  # label | caption
        pa.field("images", pa.list_(pa.struct([("image_id", pa.string()), ("sha256", pa.string())]))),
        pa.field("messages", pa.list_(_MESSAGE)),  # TRL's format; null where left out
        pa.field("label", pa.string()),  # of the image, in both tasks
        pa.field("caption", pa.string()),
        pa.field("group_id", pa.string()),  # near-duplicates share it, and never straddle splits
        pa.field("split", pa.string()),  # train | validation | test; null where left out
        pa.field("num_tokens", pa.int32()),  # image tokens included
        pa.field("left_out", pa.string()),  # `<reason>: <detail>`; null for an example
    ]
)
