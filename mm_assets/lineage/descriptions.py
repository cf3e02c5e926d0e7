"""What each column holds, in a sentence: the column schema of Dagster's UI shows it."""

from mm_assets.lineage.columns import BASE, CHECKPOINT, EVALUATION, LISTING

# By column; most names mean the same in all tables.
_SHARED = {
    "image_id": "The manifest's own id, else the path below the source.",
    "source_uri": "Where the object lies: relative to the source and percent-encoded, or as the manifest says.",
    "etag": "What tells a new version of the object: the store's ETag, or size and time of a file.",
    "size": "Bytes of the object as it was listed.",
    "label": "The class: the manifest's, else the first folder of the path.",
    "caption": "What the manifest says of the image.",
    "error": "Why it could not be used, as `<reason>: <detail>`; null where it could.",
    "sha256": "SHA-256 of the file's bytes.",
    "image": "The file's bytes as they were; null where the object was rejected.",
    "format": "Of the file: JPEG, PNG, WEBP, GIF, BMP or TIFF.",
    "width": "Pixels, EXIF orientation applied.",
    "height": "Pixels, EXIF orientation applied.",
    "num_bytes": "Bytes of the file.",
    "sharpness": "Variance of the luminance's Laplacian: low means blurred.",
    "luminance": "Mean luminance, 0 to 255.",
    "clipped": "Share of the pixels at 0 or 255, 0 to 1.",
    "entropy": "Shannon entropy of the grey histogram, 0 to 8 bits.",
    "phash": "Perceptual hash of 64 bits: few differing bits are near-duplicates.",
    "group_id": "The near-duplicates that the image stands among now, named after the first of them.",
    "first_group_id": "Its first group: written once, and decides the split.",
    "example_id": "`<task>:<image_id>`.",
    "task": "label or caption: what is asked.",
    "images": "The images of the example, by id and digest.",
    "messages": "The conversation in TRL's format; null where it was left out.",
    "split": "train, validation or test; null where it was left out.",
    "num_tokens": "Tokens of the conversation, those of the image included.",
    "left_out": "Why it is no example, as `<reason>: <detail>`; null for one.",
    "id": "Digest of what makes the row unique.",
    "model_digest": "The model that answered.",
    "prompt_digest": "Of the prompt, the answers it allows, and the decoding.",
    "answer": "What the model answered.",
    "confidence": "How sure the model is, between 0 and 1; what it measures is in confidence_kind.",
    "confidence_kind": "Of a label: its answer's share of all answers' likelihood (label_share), or the product of its "
    "tokens' probabilities, each among those allowed (path_probability). Of a caption: the geometric mean of its "
    "tokens' probabilities (mean_token_probability).",
}

_MODELS = {
    "digest": "SHA-256 over the names and contents of the model's files, 16 hex digits.",
    "kind": "base or checkpoint.",
    "name": "As a person calls it.",
    "num_bytes": "Bytes of all files.",
    "inputs": "JSON: data version by asset, of everything that was read.",
    "recipe_digest": "Of the recipe: the same one is not made twice.",
    "recipe": "JSON: what the files were made from.",
    "metrics": "JSON: what the training measured.",
    "run_id": "The run that made it.",
    "created_at": "When it was registered.",
}

# Where a table means something else, or has names of its own.
_OWN: dict[str, dict[str, str]] = {
    LISTING: {"error": "Why the listing itself refuses the entry, as `<reason>: <detail>`; null where it does not."},
    BASE: _MODELS,
    CHECKPOINT: _MODELS,
    EVALUATION: {
        "evaluation_id": "Digest of the models, the examples and the settings.",
        "challenger": "Digest of the model that was trained.",
        "champion": "Digest of the production model before; of the base model where there was none.",
        "promoted": "Whether the challenger became the production model.",
        "production": "Digest of the production model after; null where there is none.",
        "at": "When it was judged.",
        "error": "Why a model gave no answer; null where both did.",
        **{
            f"{side}_{name}": says.format(side)
            for side in ("challenger", "champion")
            for name, says in (
                ("score", "Of the {}: 1 for the right label, else 0; of a caption, its token accuracy."),
                ("label", "What the {} answered; null for a caption."),
                ("confidence", "Of the {}'s label; null for a caption."),
            )
        },
    },
    "batch_predictions": {
        "label": "The label of the answer; null for a caption.",
        "sha256": "SHA-256 of the bytes that were shown; null where the object could not be read.",
        "error": "Why there is no answer, as `<reason>: <detail>`; null where there is one.",
    },
    "serving_bundle": {
        "id": "Digest of the model and of what is packed beside it, 16 hex digits.",
        "model_digest": "The model that is in it.",
        "recipe": "JSON: what it was made from, and the bytes of each file in it.",
        "sha256": "SHA-256 of the tar.gz.",
        "num_bytes": "Bytes of the tar.gz.",
        "uri": "Where the tar.gz lies, relative to the lake.",
        "uploaded_to": "Where it was uploaded; null where it was not.",
        "properties": "JSON: serving.properties.",
        "card": "The model card, README.md.",
        "run_id": "The run that wrote the row.",
        "created_at": "When the row was written.",
    },
}


def described(asset: str, column: str) -> str | None:
    """What a column of an asset's table holds; None for one of a user's own scorer."""
    description = _OWN.get(asset, {}).get(column) or _SHARED.get(column)
    if description is not None:
        return description
    if column.endswith("_rev"):
        return f"The revision of {column.removesuffix('_rev')} that computed the cell; null: not computed."
    if column.endswith("_error"):
        return f"Why {column.removesuffix('_error')} failed on the image; null where it did not."
    return None
