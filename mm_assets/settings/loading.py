"""Reads the settings, and refuses wrong values and unknown variables by name."""

import difflib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from mm_assets.settings.former import FORMER_BOUNDS
from mm_assets.settings.root import PREFIX, Settings, SettingsError, profile_path


def known_variables(model: type[BaseModel] | None = None, prefix: str = PREFIX) -> dict[str, str]:
    """All environment variables of settings, in upper case, each with an example where it takes JSON, else ""."""
    variables: dict[str, str] = {}
    for name, field in (model or Settings).model_fields.items():
        variable = f"{prefix}{name}".upper()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            variables[variable] = '{"name": "value"}'
            variables |= known_variables(field.annotation, f"{variable}__")
        else:
            variables[variable] = _example(str(field.annotation))
    return variables


def _example(annotation: str) -> str:
    if "TaskSettings" in annotation:
        return '[{"task": "label", "prompt": "...", "answer": "... {label}"}]'
    if "Ask]" in annotation:
        return '[{"task": "caption"}]'
    return '{"name": "value"}' if "dict[" in annotation else '["a", "b"]' if "list" in annotation else ""


def load_settings() -> Settings:
    """Read the profile and the environment.

    Raises:
        SettingsError: values are wrong or variables unknown; the message has one line for each.
    """
    _check_variables()
    profile = profile_path(os.environ.get(f"{PREFIX}PROFILE", "local"))
    try:
        if not isinstance(yaml.safe_load(profile.read_text()), dict):
            raise SettingsError(f"profile (MM_PROFILE): {profile} holds no settings: write `name: value` lines")
        return Settings()
    except yaml.YAMLError as error:
        raise SettingsError(f"profile (MM_PROFILE): {profile} is no YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise SettingsError("\n".join(_sentence(item) for item in error.errors())) from None


def _check_variables() -> None:
    variables = known_variables()
    environment = {name: value for name, value in os.environ.items() if name.upper().startswith(PREFIX)}
    unknown = sorted(name for name in environment if name.upper() not in variables)
    if unknown:
        raise SettingsError("\n".join(_unknown(name, list(variables)) for name in unknown))
    for name, value in environment.items():
        if not value.strip():
            raise SettingsError(f"{name} is empty: give it a value, or unset it")
        if variables[name.upper()] and not _is_json(value):
            raise SettingsError(f"{name} takes JSON, such as {variables[name.upper()]} (given: {value})")


def _unknown(variable: str, variables: Sequence[str]) -> str:
    former = variable.upper().removeprefix(f"{PREFIX}CURATE__").lower()
    if former in FORMER_BOUNDS:
        column, end, _ = FORMER_BOUNDS[former]
        value = json.dumps({column: {end: 0.5}})
        return f"{variable} is a limit like any other now: write MM_CURATE__LIMITS='{value}', with your value"
    # Compared without the common prefix, which would make any two names similar.
    near = difflib.get_close_matches(
        variable.upper().removeprefix(PREFIX), [name.removeprefix(PREFIX) for name in variables]
    )
    meant = f"did you mean {' or '.join(PREFIX + name for name in near)}? " if near else ""
    return f"unknown setting {variable}: {meant}docs/settings.md lists all"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _sentence(item: Mapping[str, Any]) -> str:
    path = [str(part) for part in item["loc"] if not str(part).startswith("function-")]
    if not path:
        return str(item["msg"]).removeprefix("Value error, ")
    variable = PREFIX + "__".join(path).upper()
    value = "" if item["type"] in ("missing", "value_error") else f" (given: {item['input']!r})"
    return f"{'.'.join(path)} ({variable}): {str(item['msg']).removeprefix('Value error, ')}{value}"


def digest(*sections: BaseModel | Mapping[str, Any] | str) -> str:
    """Twelve hex digits that change when any of the sections' values changes."""
    values = [one.model_dump(mode="json") if isinstance(one, BaseModel) else one for one in sections]
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
