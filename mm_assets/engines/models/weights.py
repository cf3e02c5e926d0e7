"""The layout of saved weights that both transformers and vLLM's own loader read."""

import json
import re
from pathlib import Path

from safetensors.torch import load_file, save_file

_TOWER = re.compile(r"^((?:model\.)?vision_tower\.)(?!vision_model\.)")


def _renamed(key: str) -> str:
    return _TOWER.sub(r"\1vision_model.", key)


def name_keys_for_vllm(folder: Path) -> None:
    """Rename the vision tower's weights in place, in every shard and in the index.

    Transformers 5 saves `vision_tower.embeddings.*`. Checkpoints on the hub, and vLLM, have
    `vision_tower.vision_model.*`.
    """
    for path in sorted(folder.glob("*.safetensors")):
        weights = load_file(path)
        if any(_renamed(key) != key for key in weights):
            save_file({_renamed(key): value for key, value in weights.items()}, path, metadata={"format": "pt"})
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        content = json.loads(index.read_text())
        content["weight_map"] = {_renamed(key): shard for key, shard in content["weight_map"].items()}
        index.write_text(json.dumps(content, indent=2))
