"""The command that serves a model, and when it is refused; what it asks is a command that a shell understands."""

import json
import socket
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import local_folder
from mm_assets.lineage.errors import RefusalError
from mm_assets.operations.serve import command, server
from mm_assets.operations.serve.server import Address, Machine
from mm_assets.settings import ServeSettings
from mm_assets.stages.serve import request
from mm_assets_tests.kit.production import bundled, judged
from mm_assets_tests.kit.project import Project
from mm_assets_tests.kit.stores import free_port

CPU = Machine(gpus=0, torchvision=False)
QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
HERE = Address("127.0.0.1", 8000)


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if vLLM were installed: what is refused after that is refused everywhere."""
    monkeypatch.setattr(
        "mm_assets.operations.serve.server.find_spec", lambda name: object() if name == "vllm" else find_spec(name)
    )


def test_on_a_cpu_without_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = server.command(Path("/m"), HERE, ServeSettings(), CPU)
    assert arguments[1:3] == ["-m", "vllm.entrypoints.openai.api_server"]
    options = dict(zip(arguments[3::2], arguments[4::2], strict=False))
    assert options["--model"] == "/m"
    assert options["--served-model-name"] == "mm-assets"
    assert (options["--host"], options["--port"]) == ("127.0.0.1", "8000")
    assert options["--allowed-media-domains"] == "nobody.invalid"
    assert json.loads(options["--limit-mm-per-prompt"]) == {"image": 1}
    assert arguments[-5:] == ["--dtype", "float32", "--enforce-eager", "--model-impl", "transformers"]
    for name in (*QUIET, "VLLM_CPU_KVCACHE_SPACE"):
        monkeypatch.delenv(name, raising=False)
    assert {name: server.environment_of(CPU)[name] for name in QUIET} == QUIET
    assert server.environment_of(CPU)["VLLM_CPU_KVCACHE_SPACE"] == "1"
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "4")
    assert server.environment_of(CPU)["VLLM_CPU_KVCACHE_SPACE"] == "4"


def test_on_a_gpu() -> None:
    settings = ServeSettings(max_model_len=4096, model_name="rooms")
    arguments = server.command(Path("/m"), HERE, settings, Machine(gpus=2, torchvision=True))
    assert not {"--dtype", "--enforce-eager", "--model-impl"} & set(arguments)
    assert arguments[arguments.index("--tensor-parallel-size") + 1] == "2"
    chosen = server.command(Path("/m"), HERE, ServeSettings(dtype="fp16", tensor_parallel_degree="1"), Machine(2, True))
    assert [chosen[chosen.index(name) + 1] for name in ("--dtype", "--tensor-parallel-size")] == ["float16", "1"]
    assert arguments[-2:] == ["--max-model-len", "4096"]
    assert "rooms" in arguments


@pytest.mark.usefixtures("vllm")
def test_a_port_that_is_taken_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            RefusalError, match=f"127.0.0.1:{port} cannot be listened on .*: choose another with --port"
        ):
            server.check(Address("127.0.0.1", port))
    server.check(Address("127.0.0.1", free_port()))


@pytest.mark.usefixtures("vllm")
@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "::", "a-name"])
def test_nobody_else_reaches_it(host: str) -> None:
    with pytest.raises(RefusalError, match="behind a proxy that knows its clients"):
        server.check(Address(host, free_port()))


@pytest.mark.usefixtures("vllm")
def test_any_name_of_the_loopback_will_do() -> None:
    for host in ("localhost", "127.0.0.1", "127.8.8.8"):
        server.check(Address(host, free_port()))


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(RefusalError, match="a port is a number from 1 to 65535"):
        server.check(Address("127.0.0.1", port))


def test_without_vllm_the_sentence_names_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mm_assets.operations.serve.server.find_spec", lambda _: None)
    with pytest.raises(RefusalError, match="vLLM is not installed in this environment: run `make vllm`"):
        server.check(HERE)


def test_the_url_is_as_a_client_writes_it() -> None:
    assert Address("::1", 80).url == "http://[::1]:80"
    assert Address("::1", 80).is_loopback


def test_the_promoted_model_is_served_and_nothing_else(tables: Lake) -> None:
    with pytest.raises(RefusalError, match=r"no model was promoted in the lake .* yet"):
        command.promoted(tables, ServeSettings())
    judged(tables, promoted=False)
    with pytest.raises(RefusalError, match=r"no model was promoted in the lake .* yet"):
        command.promoted(tables, ServeSettings())
    digest = judged(tables, seed=2).metadata["production"]
    served = command.promoted(tables, ServeSettings(model_name="rooms"))
    assert (served.digest, served.folder) == (digest, local_folder(tables, digest))
    assert served.chat_request == request.chat_request("rooms", "what is it?")


def test_a_bundle_is_served_from_its_folder_or_its_file(tables: Lake) -> None:
    judged(tables)
    metadata = bundled(tables).metadata
    archive = Path(tables.root, metadata["uri"])
    served = command.of_bundle(archive, ServeSettings(model_name="rooms"))
    assert served.digest == metadata["digest"]
    assert served.chat_request == request.chat_request("rooms", "what is it?")
    assert command.of_bundle(archive, ServeSettings()).folder == served.folder
    assert command.of_bundle(served.folder, ServeSettings()).digest == metadata["digest"]


def test_what_is_no_bundle_is_refused(tables: Lake, tmp_path: Path) -> None:
    digest = judged(tables).metadata["production"]
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(Path(tables.root, bundled(tables).metadata["uri"]).read_bytes()[:100_000])
    for place, says in (
        (tmp_path / "nothing", "there is no such file or folder"),
        (local_folder(tables, digest), "is no bundle: it has no README.md"),
        (cut, "cannot be unpacked"),
        (local_folder(tables, digest) / "config.json", "cannot be unpacked"),
    ):
        with pytest.raises(RefusalError, match=says):
            command.of_bundle(place, ServeSettings())


def test_the_command_that_is_printed_sends_the_request_with_the_picture(tmp_path: Path) -> None:
    prompt = 'It\'s "100%" \\n of $HOME `id` {} — café?'
    chat_request = request.chat_request("mm-assets", prompt)
    (tmp_path / "photo.jpg").write_bytes(bytes(range(256)) * 2000)  # in base64 more than an argument may have
    text = request.as_command(chat_request, "http://127.0.0.1:1", key=True)
    body, _, curl = text.rpartition(" | curl ")
    assert "Authorization: Bearer $VLLM_API_KEY" in curl
    sent = subprocess.run(["bash", "-c", body], cwd=tmp_path, capture_output=True, check=True)
    picture, words = json.loads(sent.stdout)["messages"][0]["content"]
    assert words["text"] == prompt
    assert picture["image_url"]["url"].startswith("data:image/jpeg;base64,AAEC")
    assert len(picture["image_url"]["url"]) > 600_000


def test_the_command_line_ends_with_2_and_a_sentence(tmp_path: Path) -> None:
    project = Project(tmp_path / "lake", "drawn", tmp_path / "home")
    process = project.command("serve", "--host", "0.0.0.0", module="mm-assets")
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith("mm-assets: --host 0.0.0.0: whoever reaches this machine could use the model")
    assert len(process.stderr.splitlines()) == 1
