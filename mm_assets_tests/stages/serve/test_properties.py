"""serving.properties: keys that LMI knows, values as set, and a file that Java reads back."""

import re
from typing import Any

import pytest

from mm_assets.settings import ServeSettings, SettingsError, load_settings
from mm_assets.stages.serve.properties import as_text, properties_of

# DJL Serving's documentation, pages "LMI: Container and Model Configurations" (`engine`, `option.model_id`,
# `trust_remote_code`, `rolling_batch`, `max_rolling_batch_size`, `dtype`, `tensor_parallel_degree`, `entryPoint`,
# `model_loading_timeout`) and "vLLM Engine User Guide" (`async_mode`; arguments of vLLM's engine are passed on).
OF_LMI = {
    "engine",
    *(
        f"option.{name}"
        for name in (
            *("model_id", "trust_remote_code", "revision", "rolling_batch", "max_rolling_batch_size", "dtype"),
            *("tensor_parallel_degree", "entryPoint", "parallel_loading", "model_loading_timeout", "async_mode"),
        )
    ),
}
OF_VLLM = {"option.max_model_len", "option.limit_mm_per_prompt", "option.served_model_name"}

ASYNC: dict[str, Any] = {"max_model_len": 4096, "tensor_parallel_degree": 2}
ROLLING: dict[str, Any] = {**ASYNC, "mode": "rolling_batch", "max_rolling_batch_size": 8}


def read_as_java(text: str) -> dict[str, str]:
    """`java.util.Properties.load`, as its documentation says: continued lines, comments, escapes, separators."""
    found: dict[str, str] = {}
    logical = ""
    for line in text.split("\n"):
        line = line.lstrip(" \t\f")
        if not logical and (not line or line[0] in "#!"):
            continue
        if (len(line) - len(line.rstrip("\\"))) % 2:
            logical += line[:-1]
            continue
        key, value = re.fullmatch(r"((?:[^\\:= \t\f]|\\.)*)[ \t\f]*[:=]?[ \t\f]*(.*)", logical + line).groups()  # type: ignore[union-attr]
        found[_unescaped(key)] = _unescaped(value)
        logical = ""
    return found


def _unescaped(text: str) -> str:
    known = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}

    def one(match: re.Match[str]) -> str:
        return chr(int(match[1][1:], 16)) if match[1][0] == "u" else known.get(match[1], match[1])

    units = re.sub(r"\\(u[0-9a-fA-F]{4}|.)", one, text)
    return units.encode("utf-16", "surrogatepass").decode("utf-16")


@pytest.mark.parametrize("given", [{}, ASYNC, {"mode": "rolling_batch"}, ROLLING])
def test_every_key_is_one_that_lmi_knows(given: dict[str, Any]) -> None:
    found = properties_of(ServeSettings(**given), "bf16")
    assert set(found) <= OF_LMI | OF_VLLM
    assert read_as_java(as_text(found)) == found


@pytest.mark.vllm
def test_what_lmi_passes_on_is_what_vllm_takes() -> None:
    arguments = pytest.importorskip("vllm.engine.arg_utils", reason="vLLM is not installed (make vllm)")
    assert {name.removeprefix("option.") for name in OF_VLLM} <= set(arguments.EngineArgs.__dataclass_fields__)


def test_todays_containers_are_the_default() -> None:
    assert as_text(properties_of(ServeSettings(), "bf16")).splitlines() == [
        "engine=Python",
        "option.async_mode=true",
        "option.rolling_batch=disable",
        "option.entryPoint=djl_python.lmi_vllm.vllm_async_service",
        "option.tensor_parallel_degree=max",
        "option.dtype=bf16",
        'option.limit_mm_per_prompt={"image": 1}',
        "option.trust_remote_code=false",
        "option.served_model_name=mm-assets",
    ]


def test_older_containers_are_told_where_the_weights_are() -> None:
    assert as_text(properties_of(ServeSettings(**ROLLING), "float32")).splitlines() == [
        "engine=Python",
        "option.model_id=/opt/ml/model",
        "option.rolling_batch=vllm",
        "option.tensor_parallel_degree=2",
        "option.dtype=fp32",
        "option.max_rolling_batch_size=8",
        "option.model_loading_timeout=1800",
        "option.max_model_len=4096",
    ]


@pytest.mark.parametrize(
    "value", ["a\\b", " led by a blank", "two  blanks", "tab\tline\nreturn\r", "50% = #1!: x", "Café 露台 🏊", "\\", ""]
)
def test_any_value_comes_back_from_java(value: str) -> None:
    text = as_text({"engine": "Python", "option.x": value, "option.y": "after"})
    assert text.isascii()
    assert read_as_java(text) == {"engine": "Python", "option.x": value, "option.y": "after"}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("MODE", "sync", "'async' or 'rolling_batch'"),
        ("DTYPE", "float32", "'bf16', 'fp16' or 'fp32'"),
        ("TENSOR_PARALLEL_DEGREE", "0", "max|"),
        ("TENSOR_PARALLEL_DEGREE", "all", "max|"),
        ("MAX_MODEL_LEN", "0", "greater than 0"),
        ("MAX_ROLLING_BATCH_SIZE", "many", "valid integer"),
        ("MODEL_LOADING_TIMEOUT", "-1", "greater than 0"),
        ("MODEL_ID", "my model", "match pattern"),
        ("MODEL_NAME", "my model", "match pattern"),
        ("LICENSE", "a licence", "match pattern"),
        ("UPLOAD_TO", "models/", "give s3://bucket/prefix"),
        ("UPLOAD_TO", "https://bucket/x", "give s3://bucket/prefix"),
        ("GZIP_LEVEL", "10", "less than or equal to 9"),
        ("UPLOAD_CHECKSUM", "crc32", "'sha256' or 'md5'"),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"MM_SERVE__{name}", value)
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    assert f"serve.{name.lower()} (MM_SERVE__{name}): " in str(refusal.value)
    assert says in str(refusal.value)


def test_a_count_of_gpus_may_be_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MM_SERVE__TENSOR_PARALLEL_DEGREE", "4")
    assert load_settings().serve.tensor_parallel_degree == "4"
    assert ServeSettings(tensor_parallel_degree=4).tensor_parallel_degree == "4"
