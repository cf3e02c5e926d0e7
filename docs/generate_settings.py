"""Write docs/settings.md from the settings object: `python docs/generate_settings.py`; a test keeps the two equal."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from mm_assets.settings import PREFIX, Settings

HEAD = """# Settings

`MM_PROFILE` names a profile of the package (`local`, the default, or `gpu`) or the path of your own YAML file; any
field is overridden by its environment variable. A wrong value or an unknown `MM_` variable is refused when the
definitions load, by name. Lists, mappings and null are written as JSON (`MM_CURATE__LABELS='["pool", "gym"]'`); a
mapping is merged with the profile's.

A default of `-` means that the profile gives the value; `local.yaml` and `gpu.yaml` in `mm_assets/profiles/` are
complete examples.

| variable | default | meaning |
|---|---|---|
"""


def rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """A table row for every field, sections unfolded."""
    for name, field in model.model_fields.items():
        variable = f"{prefix}{name}".upper()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from rows(field.annotation, f"{variable}__")
        else:
            default = field.get_default(call_default_factory=True)
            text = "-" if default is PydanticUndefined else "unset" if default is None else default
            yield f"| `{variable}` | {text} | {field.description} |"


def document() -> str:
    """The whole of docs/settings.md."""
    return HEAD + "\n".join(rows(Settings, PREFIX)) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("settings.md").write_text(document())
