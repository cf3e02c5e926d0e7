"""`serving.properties`: what an LMI container (AWS's Large Model Inference, with DJL Serving) is told about the model.

Keys and values: DJL Serving's documentation, "LMI: Container and Model Configurations" and "vLLM Engine User Guide"
(https://docs.djl.ai/master/docs/serving/serving/docs/lmi/), where whatever vLLM's engine takes is passed on as
`option.<its name>`.
"""

from mm_assets.settings import BundleSettings

NAME = "serving.properties"
# LMI's names of what `predict.precision` says.
DTYPES = {"bf16": "bf16", "float32": "fp32"}

_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\f": "\\f"}


def properties_of(settings: BundleSettings, precision: str) -> dict[str, str]:
    """The properties of a bundle.

    In mode `async` there is no `option.model_id`: the file lies beside the weights, which are then taken. Older
    containers (`rolling_batch`) are told the folder.

    Args:
        settings: of serving.
        precision: of the predictions, which serving takes over where it has none of its own.
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
    """A .properties file as `java.util.Properties.load` reads it; nothing is escaped that need not be."""
    return "".join(f"{name}={_escaped(value)}\n" for name, value in properties.items())


def _escaped(value: str) -> str:
    text = "".join(_ESCAPES.get(char, char if " " <= char <= "~" else _unicode(char)) for char in value)
    return f"\\{text}" if text.startswith(" ") else text  # blanks after the = would be skipped


def _unicode(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{int.from_bytes(units[i : i + 2], 'big'):04x}" for i in range(0, len(units), 2))
