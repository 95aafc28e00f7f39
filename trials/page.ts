/**
 * How soon a page notices that its line is dead, and how soon it is back: hidden,
 * frozen, and with a network that goes and comes. Prints the times.
 *
 *     deno run --allow-all trials/page.ts [seconds that the line is dead] [seconds in
 *       a tab that has been hidden for long]
 */

import { deadline, delay } from "@std/async";
import { ServerSocket } from "@ws/events/server";
import { bundle } from "../tests/support/bundle.ts";
import { findRuntime } from "../tests/support/runtimes.ts";
import { TcpProxy } from "../tests/support/tcp_proxy.ts";
import { argument, Verdict } from "./support.ts";

/** After how many seconds the timers of a hidden tab are throttled most. */
const GRACE_SECONDS = 10;

/** How long a page may take to be back, in milliseconds. */
const TIMEOUT_MS = 120_000;

type Params = Readonly<Record<string, unknown>>;

/**
 * A browser by its own protocol: playwright has each page believe that it is in
 * front, so that none is ever hidden.
 */
class Browser implements AsyncDisposable {
  readonly #answers = new Map<number, PromiseWithResolvers<Params>>();
  #id = 0;

  private constructor(
    readonly process: Deno.ChildProcess,
    readonly folder: string,
    readonly socket: WebSocket,
  ) {
    socket.onmessage = ({ data }) => {
      const { id, result, error } = JSON.parse(data);
      const answer = this.#answers.get(id);
      if (error) answer?.reject(new Error(error.message));
      else answer?.resolve(result);
    };
  }

  static async start(command: string): Promise<Browser> {
    const folder = await Deno.makeTempDir();
    const process = new Deno.Command(command, {
      args: [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        // A tab's timers run once a minute after it was hidden so long, not 5 minutes.
        `--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/${GRACE_SECONDS}`,
        "--remote-debugging-port=0",
        `--user-data-dir=${folder}`,
        "about:blank",
      ],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const file = `${folder}/DevToolsActivePort`;
    let text = "";
    while (!text.includes("\n")) {
      await delay(50);
      text = await Deno.readTextFile(file).catch(() => "");
    }
    const [port, path] = text.split("\n");
    const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`);
    const opened = Promise.withResolvers<void>();
    socket.onopen = () => opened.resolve();
    socket.onerror = () => opened.reject(new Error("There is no browser"));
    await opened.promise;
    return new Browser(process, folder, socket);
  }

  /** Calls a method, of the browser or of one of its pages. */
  async call(
    method: string,
    params: Params = {},
    sessionId?: string,
  ): Promise<Params> {
    const id = ++this.#id;
    const answer = Promise.withResolvers<Params>();
    this.#answers.set(id, answer);
    this.socket.send(JSON.stringify({ id, method, params, sessionId }));
    return await deadline(answer.promise, TIMEOUT_MS);
  }

  /** Opens a page in a tab of its own, in front. */
  async open(url: string): Promise<Tab> {
    const { targetId } = await this.call("Target.createTarget", { url });
    const params = { targetId, flatten: true };
    const { sessionId } = await this.call("Target.attachToTarget", params);
    await this.call("Network.enable", {}, String(sessionId));
    return new Tab(this, String(targetId), String(sessionId));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.close();
    this.process.kill("SIGKILL");
    await this.process.status;
    await Deno.remove(this.folder, { recursive: true }).catch(() => {});
  }
}

/** One page. */
class Tab {
  constructor(
    readonly browser: Browser,
    readonly id: string,
    readonly session: string,
  ) {}

  call(method: string, params: Params = {}): Promise<Params> {
    return this.browser.call(method, params, this.session);
  }

  /** Brings it to the front, which hides the one that was there. */
  async show(): Promise<void> {
    await this.browser.call("Target.activateTarget", { targetId: this.id });
  }

  async setOffline(offline: boolean): Promise<void> {
    await this.call("Network.emulateNetworkConditions", {
      offline,
      latency: 0,
      downloadThroughput: -1,
      uploadThroughput: -1,
    });
  }

  async setState(state: "frozen" | "active"): Promise<void> {
    await this.call("Page.setWebLifecycleState", { state });
  }

  async evaluate(expression: string): Promise<unknown> {
    const params = { expression, awaitPromise: true, returnByValue: true };
    const { result } = await this.call("Runtime.evaluate", params);
    return typeof result === "object" && result !== null && "value" in result
      ? result.value
      : undefined;
  }

  async close(): Promise<void> {
    await this.browser.call("Target.closeTarget", { targetId: this.id });
  }
}

interface Times {
  readonly notice: number;
  readonly back: number;
}

const deadFor = argument(0, 10) * 1_000;
const deadForLong = argument(1, 75) * 1_000;
const command = await findRuntime("chromium");
if (!command) throw new Error("There is no Chromium: see .ci/run");

const script = await bundle(
  "--platform=browser",
  "tests/support/portable/page.ts",
);
const PAGE =
  `<!doctype html><title>Trial</title><script type=module src=/page.js></script>`;
await using server = new ServerSocket({
  fallback: ({ url }) =>
    new URL(url).pathname === "/page.js"
      ? new Response(script, { headers: { "Content-Type": "text/javascript" } })
      : new Response(PAGE, { headers: { "Content-Type": "text/html" } }),
});
server.on("error", () => {});
await server.listen("127.0.0.1", 0);
await using browser = await Browser.start(command);
const address = server.url.replace("ws:", "http:");

/** Has a page whose line dies; then what is to wake it up happens. */
async function measure(
  die: (tab: Tab, other: Tab) => Promise<void>,
  wake: (tab: Tab) => Promise<void>,
  time = deadFor,
): Promise<Times> {
  await using before = new TcpProxy(server.port);
  await using after = new TcpProxy(server.port);
  const other = await browser.open("about:blank");
  const tab = await browser.open(address);
  try {
    while (await tab.evaluate("typeof ClientSocket") !== "function") {
      await delay(20);
    }
    await tab.evaluate(`(async () => {
      globalThis.where = "${before.url}";
      globalThis.told = [];
      const client = globalThis.client = new ClientSocket({ reconnect: true });
      for (const type of ["connect", "disconnect"]) {
        client.on(type, () => told.push([type, Date.now()]));
      }
      await client.connect(() => where);
      told.length = 0;
    })()`);
    await die(tab, other);
    before.swallow();
    await tab.evaluate(`where = "${after.url}"`);
    await delay(time);
    await wake(tab);
    const start = Date.now();
    const read = async (type: string) => {
      const expression = `told.find(([type]) => type === "${type}")?.[1]`;
      for (;;) {
        const time = await tab.evaluate(expression);
        if (typeof time === "number") return time - start;
        if (Date.now() - start > TIMEOUT_MS) return Infinity;
        await delay(50);
      }
    };
    const notice = await read("disconnect");
    return { notice, back: await read("connect") };
  } finally {
    await tab.close();
    await other.close();
  }
}

const verdict = new Verdict();

function report(what: string, { notice, back }: Times, goal: Times): void {
  const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`;
  const when = (ms: number) =>
    ms < 0 ? `${seconds(-ms)} before` : `after ${seconds(ms)}`;
  verdict.note(what, `noticed ${when(notice)}, back ${when(back)}`);
  verdict.claim(
    `${what}: noticed within ${seconds(goal.notice)}, back ${
      seconds(goal.back)
    }`,
    notice <= goal.notice && back <= goal.back,
  );
}

const LOOKED_AT = { notice: 5_000, back: 6_000 };
const ONLINE = { notice: 10_000, back: 10_000 };

async function dispatchOnline(tab: Tab): Promise<void> {
  await tab.evaluate(`void dispatchEvent(new Event("online"))`);
}

console.log(`A line that has been dead for ${deadFor / 1_000} s, in Chromium`);
report(
  "a hidden tab that is looked at again",
  await measure(
    async (tab, other) => {
      await other.show();
      const state = await tab.evaluate("document.visibilityState");
      verdict.note("the tab is", state);
    },
    (tab) => tab.show(),
  ),
  LOOKED_AT,
);
/** Hides a tab for so long that its timers run once a minute. */
async function hideForLong(tab: Tab, other: Tab): Promise<void> {
  await other.show();
  await delay((GRACE_SECONDS + 2) * 1_000);
  await tab.evaluate("globalThis.ticks = 0, setInterval(() => ticks++, 1_000)");
}

for (
  const [what, wake, goal] of [
    ["is looked at again", (tab: Tab) => tab.show(), LOOKED_AT],
    ["gets an `online` event", dispatchOnline, ONLINE],
  ] as const
) {
  report(
    `a tab hidden for minutes that ${what}`,
    await measure(
      hideForLong,
      async (tab) => {
        verdict.note(
          `timers of a second in ${deadForLong / 1_000} s`,
          await tab.evaluate("ticks"),
        );
        await wake(tab);
      },
      deadForLong,
    ),
    goal,
  );
}
report(
  "a page that was frozen",
  await measure(
    (tab) => tab.setState("frozen"),
    (tab) => tab.setState("active"),
  ),
  LOOKED_AT,
);
report(
  "a line that is silent, and an event that there is a network",
  await measure(
    () => Promise.resolve(),
    dispatchOnline,
  ),
  ONLINE,
);
report(
  "a network that was away",
  await measure(
    (tab) => tab.setOffline(true),
    (tab) => tab.setOffline(false),
  ),
  ONLINE,
);
verdict.finish();
Deno.exit();
