from __future__ import annotations

import hashlib
import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from videocups.cli import main
from videocups.semantics.weights import REGISTRY, WeightFile, WeightsError, fetch, load_weights, verify


def packed(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


CONTENT = packed({"layer.weight": torch.arange(50_000, dtype=torch.float32)})
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves one file with ranges on loopback; ``cut``: bytes after which the next answer breaks off."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cut, self.ranges, self.requests = CONTENT, None, True, []
        self.address = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append((self.path, wanted))
        if self.path.endswith("/absent.pth"):
            self.send_error(404)
            return
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
        if begin >= len(server.content):
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(server.content) - begin))
        self.end_headers()
        body = server.content[begin:]
        self.wfile.write(body[: server.cut] if server.cut else body)
        server.cut = None

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def entry(server, sha256=None, path="tiny.pth"):
    return WeightFile("tiny", f"{server.address}/{path}", sha256, "Apache-2.0")


def test_a_download_is_checked_and_converted(server, tmp_path, monkeypatch):
    monkeypatch.setitem(REGISTRY, "tiny", entry(server, SHA256))
    seen = []
    fetched = fetch(entry(server, SHA256), tmp_path, advance=lambda done, total: seen.append((done, total)))
    assert (fetched.sha256, fetched.pinned_now) == (SHA256, False)
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert not list(tmp_path.glob("*.part"))
    torch.testing.assert_close(load_weights("tiny", tmp_path)["layer.weight"], torch.arange(50_000.0))
    assert verify(entry(server, SHA256), tmp_path) == hashlib.sha256(fetched.path.read_bytes()).hexdigest()


def test_an_interrupted_download_goes_on(server, tmp_path):
    server.cut = 100_000
    with pytest.raises(WeightsError, match="stopped after 100000 of"):
        fetch(entry(server, SHA256), tmp_path)
    assert (tmp_path / "tiny.part").stat().st_size == 100_000
    fetch(entry(server, SHA256), tmp_path)
    assert server.requests[-1] == ("/tiny.pth", "bytes=100000-")


def test_a_server_without_ranges_begins_anew(server, tmp_path):
    (tmp_path / "tiny.part").write_bytes(b"old")
    server.ranges = False
    assert fetch(entry(server, SHA256), tmp_path).sha256 == SHA256


def test_a_finished_but_unconverted_download_is_used(server, tmp_path):
    (tmp_path / "tiny.part").write_bytes(CONTENT)
    assert fetch(entry(server, SHA256), tmp_path).sha256 == SHA256


def test_a_wrong_hash_is_refused_and_forgotten(server, tmp_path):
    with pytest.raises(WeightsError, match="expected 00"):
        fetch(entry(server, "00" * 32), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unpublished_hash_is_pinned_at_first_use(server, tmp_path):
    assert fetch(entry(server), tmp_path).pinned_now
    assert not fetch(entry(server), tmp_path).pinned_now
    server.content = packed({"layer.weight": torch.zeros(3)})
    with pytest.raises(WeightsError, match=r"remove the pin of tiny from .*pins\.json"):
        fetch(entry(server), tmp_path)
    assert verify(entry(server), tmp_path)  # what was there stays


def test_the_caller_may_insist_on_a_hash(server, tmp_path):
    with pytest.raises(WeightsError, match="expected 11"):
        fetch(entry(server), tmp_path, sha256="11" * 32)
    assert not fetch(entry(server), tmp_path, sha256=SHA256.upper()).pinned_now


def test_the_proxy_of_the_environment_is_asked(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", server.address)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.delenv("NO_PROXY", raising=False)
    far = WeightFile("tiny", "http://weights.invalid/tiny.pth", SHA256, "Apache-2.0")
    assert fetch(far, tmp_path).sha256 == SHA256
    assert server.requests == [("http://weights.invalid/tiny.pth", None)]


@pytest.mark.parametrize("path", ["absent.pth", None])
def test_without_a_network_both_ways_out_are_named(server, tmp_path, path):
    there = entry(server, path=path) if path else WeightFile("tiny", "http://127.0.0.1:9/x.pth", None, "Apache-2.0")
    with pytest.raises(WeightsError, match=r"https_proxy .* weights fetch tiny --from FILE"):
        fetch(there, tmp_path)


def test_absent_weights_name_both_ways_to_get_them(tmp_path):
    with pytest.raises(WeightsError, match=r"weights fetch dino-vits8', or download .* --from FILE"):
        load_weights("dino-vits8", tmp_path)


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    file = tmp_path / "evil.pth"
    torch.save({"layer.weight": Evil()}, file)
    with pytest.raises(WeightsError, match="no file of torch weights"):
        fetch(WeightFile("tiny", "", None, "?"), tmp_path, source=file)
    assert not (tmp_path / "ran").exists()
    torch.save({"epoch": 3}, file)
    with pytest.raises(WeightsError, match="more than a table of tensors"):
        fetch(WeightFile("tiny", "", None, "?"), tmp_path, source=file)
    assert file.exists()


def test_damage_is_noticed(server, tmp_path):
    fetched = fetch(entry(server), tmp_path)
    content = bytearray(fetched.path.read_bytes())
    content[-1] ^= 1
    fetched.path.write_bytes(content)
    with pytest.raises(WeightsError, match="is damaged"):
        verify(entry(server), tmp_path)


def test_the_command(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(REGISTRY, "tiny", entry(server))
    folder = ["weights", "--folder", str(tmp_path)]
    assert main([*folder, "list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in REGISTRY)
    assert "not published: pinned at first use" in listed
    assert main([*folder, "verify", "tiny"]) == 1
    assert "--from FILE" in capsys.readouterr().err
    assert main([*folder, "fetch", "tiny"]) == 0
    assert f"source sha256 {SHA256}\nNo SHA-256 is published" in capsys.readouterr().out
    assert main([*folder, "verify"]) == 0
    assert "tiny: whole" in capsys.readouterr().out
    assert main([*folder, "fetch", "nonsense"]) == 1
    assert "dino-vits8" in capsys.readouterr().err


def test_official_addresses():
    assert {entry.url.rsplit("/", 1)[1] for entry in REGISTRY.values()} == {
        "dino_deitsmall8_pretrain.pth",
        "dino_vitbase8_pretrain.pth",
        "dino_resnet50_pretrain.pth",
    }
    assert all(entry.url.startswith("https://dl.fbaipublicfiles.com/dino/") for entry in REGISTRY.values())
