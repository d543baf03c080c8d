"""Node: npm, pnpm or yarn by their lock file; the check is the package's own test script."""

from overnight.environments.detect.found import Found, Host
from overnight.environments.detect.reader import Looking, table, text

_LOCKS = (
    ("pnpm-lock.yaml", "pnpm", "pnpm install --frozen-lockfile", "pnpm test"),
    ("yarn.lock", "yarn", "yarn install --frozen-lockfile", "yarn test"),
    ("package-lock.json", "npm", "npm ci --no-audit --no-fund", "npm test"),
    ("npm-shrinkwrap.json", "npm", "npm ci --no-audit --no-fund", "npm test"),
)
_NO_TEST = "no test specified"


def detect_node(looking: Looking, host: Host) -> Found | None:
    """Return what a Node repository needs, or None where there is no package.json."""
    del host
    if not looking.has("package.json"):
        return None
    package = looking.json("package.json")
    lock, client, install, test = next(
        (entry for entry in _LOCKS if looking.has(entry[0])),
        ("", "npm", "npm install --no-audit --no-fund --no-package-lock", "npm test"),
    )
    needs = [key for key in ("dependencies", "devDependencies", "workspaces") if package.get(key)]
    if needs:
        looking.note(lock or "package.json", install)
    script = text(table(package.get("scripts")).get("test"))
    checks: tuple[str, ...] = ()
    if script and _NO_TEST not in script:
        looking.note("package.json", f"scripts.test: {script[:80]}")
        checks = (test,)
    elif any(path.endswith((".test.js", ".test.mjs", ".test.cjs")) for path in looking.all):
        looking.note("package.json", "no test script, but *.test.js: node --test")
        checks = ("node --test",)
    tools = ("node", "npm") if client == "npm" else ("node", "npm", client)
    return Found(
        language="node",
        setup=(install,) if needs else (),
        checks=checks,
        variables={"CI": "true"},
        tools=tools,
        lock_files=tuple(path for path in ("package.json", lock) if path and looking.has(path)),
    )
