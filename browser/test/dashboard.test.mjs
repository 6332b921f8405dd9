// What people do in the pages, in a real browser. No page may write an error to the
// console, and none may have a serious finding of axe.
import assert from "node:assert/strict";
import fs from "node:fs";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";
import { start } from "../herald.mjs";

const axe = fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PASSWORD = "correct horse battery";
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

let app, browser, context, page, complaints;

before(async () => {
  app = await start();
  browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
  // Everybody else comes in with what this one has chosen.
  const first = await browser.newContext();
  const entry = await first.newPage();
  await entry.goto(app.link("ada"));
  await entry.getByLabel("New password").fill(PASSWORD);
  await entry.getByRole("button", { name: "Sign in" }).click();
  await entry.getByRole("heading", { name: "Overview" }).waitFor();
  await first.storageState({ path: `${app.folder}/ada.json` });
  await first.close();
});

after(async () => {
  await browser?.close();
  app?.stop();
});

/** A page of somebody's; what it complains of is kept. */
async function open(options = {}) {
  context = await browser.newContext({ timezoneId: "Asia/Kolkata", ...options });
  page = await context.newPage();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  return page;
}

beforeEach(async () => {
  complaints = [];
  await open({ storageState: `${app.folder}/ada.json` });
});

afterEach(async () => {
  await context.close();
  assert.deepEqual(complaints, []);
});

/** No serious finding, in both themes, and nothing wider than the page when it is narrow. */
async function accessible() {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    // The policy of the pages lets nobody add a script: the tool is not added, but run.
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    const serious = violations
      .filter(({ impact }) => ["serious", "critical"].includes(impact))
      .map(({ id, nodes }) => `${colorScheme}: ${id}: ${nodes.map(({ html }) => html).join(" | ")}`);
    assert.deepEqual(serious, []);
  }
  const size = page.viewportSize();
  await page.setViewportSize({ width: 360, height: 740 });
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wider <= 0, `${page.url()} is ${wider} px too wide`);
  await page.setViewportSize(size);
}

test("a name and a password let in, and a wrong one does not", async () => {
  await context.close();
  await open();
  await page.goto(`${app.base}/dashboard/senders`);
  await accessible();
  await page.getByLabel("Name").fill("ada");
  await page.getByLabel("Password").fill("a wrong password");
  complaints.length = 0;
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").filter({ hasText: "The name or the password is wrong." }).waitFor();
  await page.getByLabel("Password").fill(PASSWORD);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Senders" }).waitFor();
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByRole("button", { name: "Sign in" }).waitFor();
  await page.goto(`${app.base}/dashboard`);
  await page.getByRole("button", { name: "Sign in" }).waitFor();
  // Chromium writes every answer of 400 and more to the console, whatever the page does.
  complaints = complaints.filter((text) => !text.includes("status of 422"));
});

test("who guesses is locked out for a while", async () => {
  await context.close();
  await open();
  app.herald("users", "add", "grace", "--role", "viewer");
  await page.goto(`${app.base}/dashboard/login`);
  for (let guess = 0; guess < 6; guess += 1) {
    await page.getByLabel("Name").fill("grace");
    await page.getByLabel("Password").fill(`guess number ${guess}`);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("alert").waitFor();
  }
  assert.match(await page.getByRole("alert").textContent(), /Too many failed attempts: wait (30|29|28) seconds/);
  complaints = complaints.filter((text) => !/status of 4(22|29)/.test(text));
});

test("the overview is live, and keeps what was opened", async () => {
  await page.goto(`${app.base}/dashboard`);
  await page.getByText("live", { exact: true }).waitFor();
  await page.getByText("As a table").click();
  const total = page.locator(".figures li").filter({ hasText: "Total" }).locator(".count");
  const was = Number(await total.textContent());
  await page.evaluate(() => { globalThis.same = true; });
  const id = await app.order("+12025550102");
  await app.order("+12025550110");
  await page.waitForFunction((was) => Number(document.querySelector(".figures .count").textContent) >= was + 2, was);
  await page.getByRole("cell", { name: /131026|Check the number/ }).first().waitFor();
  assert.ok(await page.evaluate(() => globalThis.same), "it was not loaded anew");
  assert.ok(await page.locator("#volume details").evaluate((one) => one.open));
  assert.match(await page.locator("#zone").textContent(), /Asia\/(Kolkata|Calcutta)/);
  await accessible();
  await page.goto(`${app.base}/dashboard/notifications/${id}`);
  await page.locator("#standing").getByText("read").first().waitFor();
});

test("a filter is a link that can be passed on", async () => {
  await app.order("+12025550110");
  await page.goto(`${app.base}/dashboard/notifications`);
  await page.getByLabel("Status").fill("failed");
  await page.getByLabel("Event type").fill("demo.order.created");
  await page.getByRole("button", { name: "Find" }).click();
  await page.getByRole("cell", { name: "failed" }).first().waitFor();
  assert.equal(await page.getByRole("cell", { name: "read", exact: true }).count(), 0);
  const address = page.url();
  assert.match(address, /status=failed/);
  await accessible();
  const other = await context.newPage();
  await other.goto(address);
  await other.getByRole("cell", { name: "failed" }).first().waitFor();
  assert.equal(await other.getByLabel("Status").inputValue(), "failed");
});

test("the story of a message is told, by keyboard too", async () => {
  const id = await app.order("+12025550110");
  await page.goto(`${app.base}/dashboard/notifications?status=failed`);
  await page.locator(`a[href$="${id}"]`).focus();
  await page.keyboard.press("Enter");
  await page.getByText("It failed: The message cannot be delivered").waitFor();
  await page.getByText("Thank you Asha").waitFor();
  await page.getByText(/The event order-\d+ of browser/).waitFor();
  const call = page.locator("#calls details").first();
  await call.locator("summary").focus();
  await page.keyboard.press("Enter");
  await call.getByText("biz_opaque_callback_data").waitFor();
  await accessible();
  await page.reload();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to content");
});

test("many are retried after a look at what would happen", async () => {
  for (let count = 0; count < 3; count += 1) await app.order("+12025550111");
  const failed = () => app.api("GET", "/api/v1/notifications?status=failed&recipient=%2B12025550111&limit=200");
  const before = await app.until("three failures", async () => {
    const { notifications } = await failed();
    return notifications.length >= 3 && notifications.length;
  });
  await page.goto(`${app.base}/dashboard/notifications?status=failed&recipient=%2B12025550111`);
  await page.getByRole("button", { name: "Send again" }).click();
  await page.getByText(`${before} of ${before} would be sent again.`).waitFor();
  await accessible();
  assert.equal((await failed()).notifications.length, before, "nothing has happened yet");
  await page.getByRole("button", { name: "Confirm" }).click();
  await page.getByText(`${before} of ${before} were sent again.`).waitFor();
  // Loaded again, it is not done again, and the browser does not ask.
  await page.reload();
  await page.getByRole("heading", { name: "Notifications", exact: true }).waitFor();
  assert.equal(await page.getByText("were sent again.").count(), 0);
});

test("a dead letter is replayed after what it names was mended", async () => {
  // A second app: now a number that no sender names is nobody's.
  const file = (name, text) => {
    fs.writeFileSync(`${app.folder}/${name}`, text);
    return `${app.folder}/${name}`;
  };
  app.herald("senders", "add", "second", "--phone-number-id", "106540352242923", "--app-id", "222",
    "--access-token-file", file("token", "token-of-the-second-number-1234"),
    "--app-secret-file", file("secret", "app-secret-of-the-second-app-1234"));
  // The server learns of it by itself, a little later: until then the number is taken to be ours.
  let wamid;
  await app.until("a dead letter", async () => {
    wamid = `wamid.BROWSER${Date.now()}`;
    const message = { from: "12025550199", id: wamid, timestamp: "1767225600", type: "text", text: { body: "hello" } };
    await app.callback({ messages: [message] }, "106540352242924");
    await new Promise((done) => setTimeout(done, 250));
    return (await app.api("GET", "/api/v1/stats?failed=0")).callbacks.dead_letters > 0;
  });
  await page.goto(`${app.base}/dashboard/callbacks`);
  const replay = page.getByRole("button", { name: /^Replay the callback/ });
  await replay.first().waitFor();
  await accessible();
  await replay.first().click();
  await page.getByText(/still cannot be/).waitFor();
  app.herald("senders", "add", "third", "--phone-number-id", "106540352242924",
    "--access-token-file", file("token", "token-of-the-third-number-12345"));
  await page.getByRole("button", { name: "Replay all" }).click();
  await page.getByText("1 items of 1 callbacks were applied.").waitFor();
  await page.getByText("None: every item could be applied.").waitFor();
  await page.goto(`${app.base}/dashboard/callbacks`);
  await page.getByLabel("A wamid, a number").fill(wamid);
  await page.getByRole("button", { name: "Find" }).click();
  await page.locator("#inbox a").first().click();
  await page.getByText("This view is recorded in the audit log.").waitFor();
  await accessible();
});

test("a credential is changed, and never shown again", async () => {
  await page.goto(`${app.base}/dashboard/senders`);
  await accessible();
  await page.getByRole("link", { name: /meta 106540352242922/ }).click();
  await page.getByLabel("Value").fill("a-new-token-of-the-browser-tests-9876");
  await page.getByLabel("Expires").fill("2099-12-31");
  await page.getByRole("button", { name: "Save credential" }).click();
  await page.getByText("Credential saved. It is used from the next call on.").waitFor();
  await page.getByText("a-new-to…876").first().waitFor();
  assert.ok(!(await page.content()).includes("a-new-token-of-the-browser"));
  await accessible();
  await page.getByRole("button", { name: /^Deactivate the access token/ }).click();
  await page.getByText("Credential deactivated.").waitFor();
  await page.getByLabel("Reason").fill("tested by a browser");
  await page.getByRole("button", { name: "Hold" }).click();
  await page.locator("#standing").getByText("tested by a browser").waitFor();
  await page.getByRole("button", { name: "Release" }).click();
  await page.getByText("Sender resumed.").waitFor();
  await page.goto(`${app.base}/dashboard/audit`);
  await page.getByRole("cell", { name: "credential.added" }).first().waitFor();
  await page.getByRole("cell", { name: "reason: tested by a browser" }).first().waitFor();
  await accessible();
});

test("a page that is not there says so", async () => {
  await page.goto(`${app.base}/dashboard/nothing`);
  await page.getByRole("heading", { name: "Page not found" }).waitFor();
  await accessible();
  complaints = complaints.filter((text) => !text.includes("status of 404"));
});

test("people are added and linked, and a template is seen before it is sent", async () => {
  await page.goto(`${app.base}/dashboard/contacts`);
  await page.getByLabel("Name", { exact: true }).fill("Asha Rao");
  await page.getByLabel("Number", { exact: true }).fill("+12025550161");
  await page.getByRole("button", { name: "Add" }).click();
  await page.getByRole("heading", { name: "Asha Rao" }).waitFor();
  await page.getByLabel("Quiet from").fill("21:00");
  await page.getByLabel("Quiet until").fill("07:00");
  await page.getByRole("button", { name: "Save changes" }).click();
  await page.getByText("21:00 to 07:00").waitFor();
  await page.getByLabel("Channel").selectOption("sms");
  await page.getByRole("button", { name: "Save preference" }).click();
  await page.getByText("does not want", { exact: true }).waitFor();
  await accessible();

  await page.goto(`${app.base}/dashboard/contacts?text=asha`);
  await page.getByRole("link", { name: "Asha Rao" }).waitFor();
  await accessible();

  await page.goto(`${app.base}/dashboard/staff`);
  await page.getByLabel("User", { exact: true }).fill("asha");
  await page.getByLabel("Contact’s number, or contact: and its name in catalogues").fill("+12025550161");
  await page.getByRole("button", { name: "Link", exact: true }).click();
  await page.getByRole("link", { name: "+12025550161" }).waitFor();
  await accessible();
  await page.getByRole("link", { name: "Technical Admin" }).click();
  await page.getByLabel("User").fill("asha");
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await page.getByRole("button", { name: "Remove asha" }).waitFor();
  await accessible();

  // Whom staff is linked to is deleted only when nothing is linked any more.
  await page.goto(`${app.base}/dashboard/contacts?text=asha`);
  await page.getByRole("link", { name: "Asha Rao" }).click();
  await page.getByRole("checkbox", { name: "Delete Asha Rao" }).check();
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  await page.getByText("the user asha is this person").waitFor();
  await accessible();
  await page.goto(`${app.base}/dashboard/staff`);
  await page.getByRole("button", { name: "Unlink asha" }).click();
  await page.getByRole("button", { name: "Delete asha" }).click();
  await page.getByText("User deleted and removed from all groups.").waitFor();
  await page.goto(`${app.base}/dashboard/contacts?text=asha`);
  await page.getByRole("link", { name: "Asha Rao" }).click();
  await page.getByRole("checkbox", { name: "Delete Asha Rao" }).check();
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  await page.getByText("Its number and opt-outs are kept").waitFor();
  await accessible();

  await page.goto(`${app.base}/dashboard/templates`);
  await accessible();
  await page.getByRole("link", { name: "order_confirmation" }).click();
  await page.getByRole("heading", { name: "order_confirmation" }).waitFor();
  await accessible();
});
