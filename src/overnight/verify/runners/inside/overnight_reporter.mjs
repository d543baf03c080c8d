// Inside the sandbox: a reporter of Node's test runner that records how each test ended.
// It runs in the runner's own process; test files run in child processes that never hold the key.
import { createHmac } from "node:crypto";
import { appendFileSync, existsSync, readdirSync, readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";

const root = process.env.OVERNIGHT_CHANNEL ?? "";
delete process.env.OVERNIGHT_CHANNEL;
const plain = process.env.OVERNIGHT_NODE_OPTIONS ?? "";
delete process.env.OVERNIGHT_NODE_OPTIONS;
if (plain) process.env.NODE_OPTIONS = plain;
else delete process.env.NODE_OPTIONS;

function claim() {
  const folder = join(root, "keys");
  if (!root || process.env.NODE_TEST_CONTEXT || !existsSync(folder)) return null;
  const held = new Map();
  for (const name of readdirSync(folder).sort()) {
    held.set(name, readFileSync(join(folder, name)));
    unlinkSync(join(folder, name));
  }
  const first = held.keys().next().value;
  if (first === undefined) return null;
  const key = held.get(first);
  held.delete(first);
  let last = "";
  const record = (fields) => {
    const text = JSON.stringify(fields);
    last = createHmac("sha256", key).update(last + text).digest("hex");
    appendFileSync(join(root, "out", first), `${last} ${text}\n`, { mode: 0o600 });
  };
  const release = () => {
    for (const [name, value] of held) writeFileSync(join(folder, name), value);
  };
  return { record, release };
}

const channel = claim();
channel?.record({ kind: "begin", runner: "node" });

function status(type, data) {
  if (data.skip !== undefined && data.skip !== false) return "skipped";
  if (data.todo !== undefined && data.todo !== false) return "skipped";
  return type === "test:pass" ? "passed" : "failed";
}

export default async function* overnight(source) {
  const stack = [];
  let tests = 0;
  for await (const { type, data } of source) {
    if (!channel) continue;
    if (type === "test:start") {
      stack.length = data.nesting;
      stack.push(data.name);
      continue;
    }
    if (type !== "test:pass" && type !== "test:fail") continue;
    const file = data.file ? relative(process.cwd(), data.file) : "";
    const kind = data.details?.type;
    const cause = data.details?.error?.failureType;
    const whole = data.nesting === 0 && (data.name === data.file || data.name === file);
    const names = [...stack.slice(0, data.nesting), data.name];
    if (whole) {
      if (type === "test:fail" && cause !== "subtestsFailed") {
        tests += 1;
        channel.record({ kind: "test", id: `${file || data.name} (collection)`, status: "error" });
      }
      continue;
    }
    if (kind === "suite" || cause === "subtestsFailed") {
      if (type === "test:pass" || cause === "subtestsFailed") continue;
      names.push("(set-up)");
    }
    tests += 1;
    channel.record({ kind: "test", id: [file, ...names].join(" > "), status: status(type, data) });
  }
  channel?.record({ kind: "tampered", names: [] });
  channel?.record({ kind: "end", tests });
  channel?.release();
}
