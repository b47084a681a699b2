"""What it costs to route a job: ``python -m benchmarks.routing`` prints µs per call."""

from __future__ import annotations

import timeit
from collections.abc import Callable

from prompts.messages import Message
from router.heuristic import JobTraits, choose_tier, has_code_block
from router.policy import load_policy
from router.routes import plan_route
from router.tokens import estimate_input_tokens, input_token_bound

JOB = JobTraits(feature="chat", plan="free", input_tokens=900, has_code_block=False, force_tier=None)
TEXT = "The mill stood idle until the rains had filled the race. " * 350  # 20 kB without a fence
MESSAGES = [Message("user", TEXT)]


def main() -> None:
    """Print the best of five rounds of each step; the rules promise less than 20 µs a call."""
    policy = load_policy(None)
    steps: list[tuple[str, Callable[[], object]]] = [
        ("choose_tier, last rule", lambda: choose_tier(JOB, hard_features=policy.hard_features)),
        ("plan_route", lambda: plan_route(JOB, policy)),
        ("has_code_block, 20 kB", lambda: has_code_block(TEXT)),
        ("has_code_block, 20 kB and a fence at the end", lambda: has_code_block(TEXT + "\n```\n")),
        ("estimate_input_tokens, 20 kB", lambda: estimate_input_tokens(MESSAGES)),
        ("input_token_bound (Claude), 20 kB", lambda: input_token_bound("anthropic", "claude-sonnet-5-5", MESSAGES)),
    ]
    for name, step in steps:
        rounds, _ = timeit.Timer(step).autorange()
        best = min(timeit.repeat(step, number=rounds, repeat=5)) / rounds
        print(f"{best * 1e6:10.2f} µs  {name}")


if __name__ == "__main__":
    main()
