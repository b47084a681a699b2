"""What a call costs the caller: ``python -m benchmarks.provider_calls`` prints ms of CPU a call.

Ours against each SDK's own ``create``, with its own client, over the simulator; alone and with 200 calls in flight.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import anthropic
import httpx2
import openai

from prompts.messages import Message
from router.providers.anthropic_messages import AnthropicMessages
from router.providers.calls import CallRequest
from router.providers.openai_responses import OpenAIResponses

KEY = "sk-benchmark"
TEXT = "The mill stood idle until the rains had filled the race. " * 40
IN_FLIGHT = 200


def main() -> None:
    """Print one line for each way to call, at each number of calls in flight."""
    with _simulator() as url:
        for threads, calls, latency_ms in ((1, 400, 0), (IN_FLIGHT, 10, 300)):
            httpx2.put(
                f"{url}/_sim/behaviour", json={name: {"latency_ms": latency_ms} for name in ("openai", "anthropic")}
            )
            for name, call in _variants(url).items():
                print(f"{threads:4} in flight  {_cpu_ms(call, threads, calls):6.2f} ms CPU  {name}")


def _variants(url: str) -> dict[str, Callable[[], object]]:
    ours_openai, ours_anthropic = OpenAIResponses(KEY, f"{url}/v1"), AnthropicMessages(KEY, url)
    theirs_openai = openai.OpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0)
    theirs_anthropic = anthropic.Anthropic(api_key=KEY, base_url=url, max_retries=0)
    asked = [{"role": "user", "content": TEXT}]
    return {
        "openai, responses.create": lambda: theirs_openai.responses.create(
            model="gpt-6-luna", input=asked, max_output_tokens=100, store=False, metadata={"feature": "chat"}
        ),
        "openai, ours": lambda: ours_openai.call(_request("gpt-6-luna")),
        "openai, ours, a tenant's own key": lambda: ours_openai.call(_request("gpt-6-luna", api_key="sk-own")),
        "anthropic, messages.create": lambda: theirs_anthropic.messages.create(
            model="claude-haiku-5-5", messages=asked, max_tokens=100, metadata={"user_id": "x"}
        ),
        "anthropic, ours": lambda: ours_anthropic.call(_request("claude-haiku-5-5")),
        "anthropic, ours, a tenant's own key": lambda: ours_anthropic.call(
            _request("claude-haiku-5-5", api_key="sk-own")
        ),
    }


def _request(model: str, api_key: str | None = None) -> CallRequest:
    return CallRequest(
        run_id=uuid4(),
        job_id=uuid4(),
        tenant_id="tenant",
        end_user="user",
        feature="chat",
        model=model,
        messages=(Message("user", TEXT),),
        max_output_tokens=100,
        output_schema=None,
        timeout_s=60.0,
        api_key=api_key,
    )


def _cpu_ms(call: Callable[[], object], threads: int, calls: int) -> float:
    def repeatedly(_: int) -> None:
        for _ in range(calls):
            call()

    call()  # the connection and the SDK's own caches
    with ThreadPoolExecutor(threads) as pool:
        before = time.process_time()
        list(pool.map(repeatedly, range(threads)))
        return (time.process_time() - before) * 1000 / threads / calls


@contextmanager
def _simulator() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        port_file = Path(folder) / "port"
        command = [sys.executable, "-m", "simulator", "--port", "0", "--port-file", str(port_file)]
        process = subprocess.Popen(command)
        try:
            while not (port_file.exists() and port_file.read_text().strip()):
                if process.poll() is not None:
                    raise SystemExit("the simulator did not start")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port_file.read_text().strip()}"
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
