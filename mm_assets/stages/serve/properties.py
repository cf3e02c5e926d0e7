"""Writes `serving.properties`: the settings of an LMI container (AWS's Large Model Inference, with DJL Serving).

Keys and values are from DJL Serving's documentation, "LMI: Container and Model Configurations" and "vLLM Engine User
Guide" (https://docs.djl.ai/master/docs/serving/serving/docs/lmi/). Arguments of vLLM's engine are written as
`option.<name>`.
"""

from mm_assets.settings import BundleSettings

NAME = "serving.properties"
# LMI's names for the values of `predict.precision`.
DTYPES = {"bf16": "bf16", "float32": "fp32"}

_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\f": "\\f"}


def properties_of(settings: BundleSettings, precision: str) -> dict[str, str]:
    """The properties of a bundle.

    In mode `async` there is no `option.model_id`: the container takes the weights beside the file. Older containers
    (`rolling_batch`) need the folder.

    Args:
        settings: settings of the bundle.
        precision: precision of the predictions; serving uses it where `dtype` is unset.
    """
    dtype = settings.dtype or DTYPES[precision]
    length = {} if settings.max_model_len is None else {"option.max_model_len": str(settings.max_model_len)}
    if settings.mode == "async":
        return {
            "engine": "Python",
            "option.async_mode": "true",
            "option.rolling_batch": "disable",
            "option.entryPoint": "djl_python.lmi_vllm.vllm_async_service",
            "option.tensor_parallel_degree": settings.tensor_parallel_degree,
            "option.dtype": dtype,
            "option.limit_mm_per_prompt": '{"image": 1}',
            "option.trust_remote_code": "false",
            "option.served_model_name": settings.model_name,  # else requests must call it `lmi`
            **length,
        }
    return {
        "engine": "Python",
        "option.model_id": settings.model_id,
        "option.rolling_batch": "vllm",
        "option.tensor_parallel_degree": settings.tensor_parallel_degree,
        "option.dtype": dtype,
        "option.max_rolling_batch_size": str(settings.max_rolling_batch_size),
        "option.model_loading_timeout": str(settings.model_loading_timeout),
        **length,
    }


def as_text(properties: dict[str, str]) -> str:
    """The properties as text that `java.util.Properties.load` reads; only what must be escaped is escaped."""
    return "".join(f"{name}={_escaped(value)}\n" for name, value in properties.items())


def _escaped(value: str) -> str:
    text = "".join(_ESCAPES.get(char, char if " " <= char <= "~" else _unicode(char)) for char in value)
    return f"\\{text}" if text.startswith(" ") else text  # blanks after the = would be skipped


def _unicode(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{int.from_bytes(units[i : i + 2], 'big'):04x}" for i in range(0, len(units), 2))
