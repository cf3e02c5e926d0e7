"""The command that serves a folder of weights with vLLM's OpenAI-compatible server, and when it is refused.

It is `python -m vllm.entrypoints.openai.api_server`: the command `vllm serve` crashes on the CPU build of vLLM 0.32.
"""

import ipaddress
import os
import socket
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from mm_assets.engines.answering.vllm.engine import CACHE_ON_CPU, QUIET
from mm_assets.lineage.errors import RefusalError
from mm_assets.settings import ServeSettings

KEY = "VLLM_API_KEY"
LAST_PORT = 65_535
# vLLM's names of what `serve.dtype` says.
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
# No name can end so (RFC 2606): the server fetches no pictures, they come in the request.
NOBODY = "nobody.invalid"


@dataclass(frozen=True)
class Address:
    """Where the server listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """As a client writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True)
class Machine:
    """The properties of this machine that decide on the command."""

    gpus: int
    torchvision: bool

    @classmethod
    def here(cls) -> "Machine":
        """Look; takes the seconds that torch takes to load."""
        import torch

        return cls(torch.cuda.device_count(), find_spec("torchvision") is not None)


def check(address: Address) -> None:
    """Checks that a server can be started here.

    Raises:
        RefusalError: vLLM is not installed, the port is taken or none, or others than this machine could ask.
    """
    if not 0 < address.port <= LAST_PORT:
        raise RefusalError(f"--port {address.port}: a port is a number from 1 to {LAST_PORT}")
    if not address.is_loopback:
        raise RefusalError(
            f"--host {address.host}: whoever reaches this machine could use the model, for vLLM asks for a key on some "
            "of its routes only: serve on 127.0.0.1, behind a proxy that knows its clients"
        )
    if find_spec("vllm") is None:
        raise RefusalError("vLLM is not installed in this environment: run `make vllm`")
    _check_free(address)


def _check_free(address: Address) -> None:
    try:
        family_and_address = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family_and_address[0], family_and_address[1]) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does; listeners still collide
            probe.bind(family_and_address[4])
    except OSError as error:
        raise RefusalError(
            f"{address.host}:{address.port} cannot be listened on ({error.strerror or error}): choose another with "
            "--port or --host"
        ) from None


def command(folder: Path, address: Address, settings: ServeSettings, machine: Machine) -> list[str]:
    """The program and its arguments."""
    arguments = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    arguments += ["--model", str(folder), "--served-model-name", settings.model_name]
    arguments += ["--host", address.host, "--port", str(address.port), "--limit-mm-per-prompt", '{"image": 1}']
    arguments += ["--allowed-media-domains", NOBODY]
    if machine.gpus:
        degree = settings.tensor_parallel_degree
        arguments += ["--tensor-parallel-size", str(machine.gpus) if degree == "max" else degree]
        arguments += ["--dtype", DTYPES[settings.dtype]] if settings.dtype else []
    else:
        arguments += ["--dtype", "float32", "--enforce-eager"]
    if not machine.torchvision:  # vLLM's own classes of these models need it
        arguments += ["--model-impl", "transformers"]
    if settings.max_model_len is not None:
        arguments += ["--max-model-len", str(settings.max_model_len)]
    return arguments


def environment_of(machine: Machine) -> dict[str, str]:
    """The environment of the server: ours, with defaults for what is not set."""
    return {**QUIET, **({} if machine.gpus else CACHE_ON_CPU), **os.environ}
