// A whole Herald for the browser tests: database, server and sandbox in a scratch folder.
import { execFileSync, spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "..");
const NUMBER = "106540352242922";
const SECRET = "app-secret-of-the-browser-tests";

function binary() {
  const named = process.env.HERALD_BIN;
  const built = ["release", "debug"].map((kind) => path.join(root, "target", kind, "herald"));
  const found = [named, ...built].find((file) => file && fs.existsSync(file));
  if (!found) throw new Error("build it first: cargo build --release");
  return found;
}

async function freePort() {
  const server = net.createServer();
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

async function until(what, look, seconds = 60) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`${what} did not come about in ${seconds} s`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** Starts everything; `stop` ends it. */
export async function start() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "herald-browser-"));
  const [port, sandboxPort] = [await freePort(), await freePort()];
  const base = `http://127.0.0.1:${port}`;
  const sandbox = `http://127.0.0.1:${sandboxPort}`;
  const environment = {
    PATH: process.env.PATH,
    DATABASE_URL: `sqlite:${path.join(folder, "herald.sqlite")}`,
    HERALD_LISTEN: `127.0.0.1:${port}`,
    HERALD_PUBLIC_URL: base,
    HERALD_LOG: "warn",
    HERALD_SECRET_KEY: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    WHATSAPP_PHONE_NUMBER_ID: NUMBER,
    WHATSAPP_ACCESS_TOKEN: "token-of-the-browser-tests-1234",
    WHATSAPP_APP_SECRET: SECRET,
    WHATSAPP_WEBHOOK_VERIFY_TOKEN: "verify-token-of-the-browser-tests",
    WHATSAPP_API_BASE: sandbox,
  };
  const herald = (...words) =>
    execFileSync(binary(), words, { env: environment, cwd: folder, encoding: "utf8" });
  const children = [];
  const run = (words) => {
    const log = fs.openSync(path.join(folder, `${words[0]}.log`), "a");
    const child = spawn(binary(), words, { env: environment, cwd: folder, stdio: ["ignore", log, log] });
    children.push(child);
  };
  herald("migrate", "up");
  herald("apply", path.join(root, "deploy/catalogues/demo.toml"));
  const key = herald("keys", "create", "browser", "--admin", "--all").trim();
  run([
    "sandbox", "--listen", `127.0.0.1:${sandboxPort}`, "--token", environment.WHATSAPP_ACCESS_TOKEN,
    "--app-secret", SECRET, "--callback-url", `${base}/webhooks/meta`,
    "--sent-after-milliseconds", "20", "--delivered-after-milliseconds", "20", "--read-after-milliseconds", "20",
  ]);
  run(["serve"]);
  await until("the server", () => fetch(`${base}/readyz`).then((answer) => answer.ok, () => false));
  const api = async (method, where, body) => {
    const answer = await fetch(base + where, {
      method,
      headers: { Authorization: `Bearer ${key}` },
      body: body && JSON.stringify(body),
    });
    return answer.json();
  };
  let orders = 0;
  return {
    base,
    herald,
    api,
    until,
    folder,
    /** A link that lets somebody new in, once. */
    link: (name) => herald("users", "add-admin", name).split("\n")[0],
    /** An order for one person: its notification's id. */
    async order(phone) {
      orders += 1;
      const body = {
        id: `order-${orders}`, source: "browser", type: "demo.order.created",
        data: { phone, customer: "Asha", order_number: `A-${orders}` },
      };
      const answer = await api("POST", "/api/v1/events", body);
      return answer.notifications[0];
    },
    /** A callback as Meta signs it. */
    async callback(value, number = NUMBER) {
      const body = JSON.stringify({
        object: "whatsapp_business_account",
        entry: [{ id: "102290129340398", changes: [{ field: "messages", value: {
          messaging_product: "whatsapp",
          metadata: { display_phone_number: "15550783881", phone_number_id: number }, ...value,
        } }] }],
      });
      const signature = createHmac("sha256", SECRET).update(body).digest("hex");
      const answer = await fetch(`${base}/webhooks/meta`, {
        method: "POST", body, headers: { "X-Hub-Signature-256": `sha256=${signature}` },
      });
      if (answer.status !== 200) throw new Error(`the callback was answered ${answer.status}`);
    },
    stop() {
      for (const child of children) child.kill("SIGTERM");
      fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
