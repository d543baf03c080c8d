"""Measures the embedded model's server settings on this machine: `python bench/model.py MODEL.gguf`.

Each variant loads the model in a process of its own, asks for four samples of one prompt (as an attempt
does), and ends. Variants are interleaved over the rounds; medians are printed as a table.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

SAMPLES = 4
TOKENS = 48
PROMPT = "The failing test says: expected 3, got 4.\n\n```python\n" + "\n".join(
    f"def total_{n}(rows, limit={n}):\n    found = [row for row in rows if row.size >= limit]\n"
    f"    return sum(row.price * {n} for row in found)\n"
    for n in range(8)
)
BASE: dict[str, Any] = {
    "threads": 2,
    "parallel": 1,
    "kv": "q8_0",
    "ubatch": 512,
    "passive": True,
    "cache": True,
    "unified": False,
    "first_alone": False,
    "ram": 512,
    "n": 1,
    "prompts": 1,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "base (2 threads, 1 slot, q8_0, passive)": {},
    "1 thread": {"threads": 1},
    "f16 cache": {"kv": "f16"},
    "threads that spin": {"passive": False},
    "no prompt cache": {"cache": False},
    "micro batch 128": {"ubatch": 128},
    "2 slots, together": {"parallel": 2},
    "2 slots, first alone": {"parallel": 2, "first_alone": True},
    "2 slots unified, first alone": {"parallel": 2, "first_alone": True, "unified": True},
    "4 slots, together": {"parallel": 4},
    "4 slots unified, first alone": {"parallel": 4, "first_alone": True, "unified": True},
    "4 slots unified, one request n=4": {"parallel": 4, "unified": True, "n": 4},
    "two prompts in turns, 1 slot": {"prompts": 2},
    "two prompts in turns, 1 slot, no RAM cache": {"prompts": 2, "ram": 0},
    "two prompts in turns, 2 slots, one at a time": {"prompts": 2, "parallel": 2, "at_once": 1},
    "two prompts in turns, 2 slots": {"prompts": 2, "parallel": 2},
}


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="parts of variant names, separated by |")
    parser.add_argument("--child", default="")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.model, json.loads(options.child))))
        return
    names = [name for name in VARIANTS if any(part in name for part in options.only.split("|"))]
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            child = json.dumps(BASE | VARIANTS[name])
            done = subprocess.run(
                [sys.executable, __file__, options.model, "--child", child],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                check=False,
            )
            if done.returncode == 0:
                rows[name].append(json.loads(done.stdout))
            print(name, done.stdout.decode().strip(), file=sys.stderr, flush=True)
    show(rows, options.rounds)


def show(rows: dict[str, list[dict[str, float]]], rounds: int) -> None:
    """Print medians as a Markdown table."""
    columns = ("load s", "first prompt tok/s", "4 samples s", "tok/s", "CPU s", "cached %", "peak MB")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {rounds} rounds, medians\n")
    print("| variant | " + " | ".join(columns) + " |")
    print("|---|" + "---:|" * len(columns))
    for name, runs in rows.items():
        if runs:
            cells = [f"{statistics.median(run[column] for run in runs):.1f}" for column in columns]
            print(f"| {name} | " + " | ".join(cells) + " |")


def measure(model: str, variant: dict[str, Any]) -> dict[str, float]:
    """Serve `model` in this process as `variant` says, and time its samples."""
    if variant["passive"]:
        os.environ |= {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
    else:
        os.environ |= {"OMP_WAIT_POLICY": "active"}
    import xllamacpp  # pyright: ignore[reportMissingTypeStubs]

    library: Any = xllamacpp
    params = library.CommonParams()
    params.model.path = model
    params.hostnames, params.port, params.ui, params.verbosity = ["127.0.0.1"], 0, False, 0
    params.n_parallel = variant["parallel"]
    params.n_ctx = 4096 * variant["parallel"]
    params.n_ubatch = variant["ubatch"]
    params.kv_unified = variant["unified"]
    params.cache_ram_mib = variant["ram"]
    if variant["kv"] == "q8_0":
        params.cache_type_k = params.cache_type_v = library.ggml_type.GGML_TYPE_Q8_0
        params.flash_attn_type = library.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED
    for threads in (params.cpuparams, params.cpuparams_batch):
        threads.n_threads = variant["threads"]
        threads.poll = 0 if variant["passive"] else 50
    begun = time.monotonic()
    server = library.Server(params)
    loaded = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF)
    answers = ask_all(server.listening_address, variant)
    ended = time.monotonic()
    after = resource.getrusage(resource.RUSAGE_SELF)
    prompt = sum(answer["usage"]["prompt_tokens"] for answer in answers)
    cached = sum(answer["usage"]["prompt_tokens_details"]["cached_tokens"] for answer in answers)
    return {
        "load s": loaded - begun,
        "first prompt tok/s": answers[0]["timings"]["prompt_per_second"],
        "4 samples s": ended - loaded,
        "tok/s": SAMPLES * TOKENS / (ended - loaded),
        "CPU s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "cached %": 100 * cached / prompt,
        "peak MB": after.ru_maxrss / 1024,
    }


def ask_all(url: str, variant: dict[str, Any]) -> list[dict[str, Any]]:
    """Ask for all samples, as many at the same time as there are slots."""

    def ask(number: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "messages": [{"role": "user", "content": prompts[number % variant["prompts"]]}],
            "max_tokens": TOKENS,
            "temperature": 0.8,
            "seed": number,
            "ignore_eos": True,
            "cache_prompt": variant["cache"],
            "n": variant["n"],
        }
        request = urllib.request.Request(
            f"{url}/v1/chat/completions",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as response:
            return json.loads(response.read())

    prompts: list[str] = [PROMPT, PROMPT.replace("total", "amount").replace("test says", "check tells")]
    numbers = list(range(SAMPLES // variant["n"]))
    first = [ask(numbers.pop(0))] if variant["first_alone"] else []
    with ThreadPoolExecutor(variant.get("at_once", variant["parallel"])) as pool:
        return first + list(pool.map(ask, numbers))


if __name__ == "__main__":
    main()
