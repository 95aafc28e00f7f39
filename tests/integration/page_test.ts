/** A client in a page: hidden, frozen, left, and with a network that comes and goes. */

import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { type ClientOptions, ConnectError } from "../../client.ts";
import { ClientSocket, testClients } from "../support/client_classes.ts";
import { FakePage } from "../support/fake_page.ts";
import { FakeWebSockets } from "../support/fake_websocket.ts";

const URL = "ws://example.test";

/** Opens a client, whose server speaks `events.v1`. */
async function open(
  sockets: FakeWebSockets,
  options: ClientOptions = { reconnect: true },
): Promise<ClientSocket> {
  const client = new ClientSocket({ plain: false, ...options });
  const connecting = client.connect(URL);
  await sockets.settle();
  sockets.last.protocol = "events.v1";
  sockets.last.open();
  await connecting;
  return client;
}

/** The pings that a server has got. */
const pings = ({ last }: FakeWebSockets) =>
  last.sent.filter((frame) => String(frame).startsWith("\u0001<")).length;

/** What makes a client ask, and makes it try. */
const LOOKS: Record<string, (page: FakePage) => void> = {
  visibilitychange: (page) => page.show(true),
  resume: (page) => page.document.dispatchEvent(new Event("resume")),
  focus: () => dispatchEvent(new Event("focus")),
  pageshow: () => dispatchEvent(new Event("pageshow")),
  online: (page) => page.network(true),
};

for (const [name, look] of Object.entries(LOOKS)) {
  testClients(
    `a page notices a dead line within 5 seconds of ${name}, and is back`,
    async () => {
      using page = new FakePage();
      using sockets = new FakeWebSockets();
      const client = await open(sockets);
      const told: unknown[] = [];
      client.on("disconnect", (_code, _reason, cause) => told.push(cause));
      await sockets.wait(2_000);
      look(page);
      await sockets.settle();
      assertStrictEquals(pings(sockets), 1);
      await sockets.wait(4_999);
      assertEquals(told, ["timeout"]);
      await sockets.wait(1_000);
      sockets.last.open();
      await sockets.settle();
      assertStrictEquals(client.state, "open");
      await client.close();
      await sockets.settle();
      assertStrictEquals(page.listeners, 0);
      assertStrictEquals(sockets.time.next(), false);
    },
  );

  testClients(`a page tries at once after ${name}`, async () => {
    using page = new FakePage();
    using sockets = new FakeWebSockets();
    const client = await open(sockets);
    sockets.random = 0.999;
    for (let delay = 1_000; delay < 30_000; delay *= 2) {
      sockets.last.lose();
      await sockets.wait(delay);
    }
    sockets.last.refuse();
    await sockets.wait(1_000);
    assertStrictEquals(client.state, "waiting");
    const count = sockets.sockets.length;
    look(page);
    await sockets.settle();
    assertStrictEquals(sockets.sockets.length, count + 1);
    await client.close();
    await sockets.settle();
    assertStrictEquals(page.listeners, 0);
  });
}

testClients("a page that is looked at often does not ask often", async () => {
  using page = new FakePage();
  using sockets = new FakeWebSockets();
  const client = await open(sockets);
  const pong = () => {
    const ping = sockets.last.sent.findLast((frame) =>
      String(frame).startsWith("\u0001<")
    );
    sockets.last.receive(String(ping).replace("<", ">"));
  };
  for (let look = 0; look < 40; look++) {
    page.show(false);
    page.show(true);
    await sockets.settle();
    pong();
    await sockets.wait(250);
  }
  assertEquals(pings(sockets), 2, "once in five seconds");
  assertStrictEquals(client.state, "open");
  await client.close();
});

testClients(
  "a page that is told to be offline asks, and stays where the server answers",
  async () => {
    using page = new FakePage();
    using sockets = new FakeWebSockets();
    const client = await open(sockets);
    page.network(false);
    await sockets.settle();
    assertStrictEquals(pings(sockets), 1);
    sockets.last.receive(String(sockets.last.sent.at(-1)).replace("<", ">"));
    await sockets.wait(10_000);
    assertStrictEquals(client.state, "open");
    await client.close();
  },
);

testClients(
  "a page asks nothing where idleTimeout is off, or the server cannot be asked",
  async () => {
    using page = new FakePage();
    using sockets = new FakeWebSockets();
    const client = await open(sockets, { idleTimeout: 0 });
    page.show(true);
    await sockets.wait(10_000);
    assertEquals(pings(sockets), 0);
    await client.close();
    const plain = new ClientSocket({ plain: true });
    const connecting = plain.connect(URL);
    await sockets.settle();
    sockets.last.open();
    await connecting;
    page.show(true);
    await sockets.wait(10_000);
    assertStrictEquals(plain.state, "open");
    assertEquals(sockets.last.sent, []);
    await plain.close();
  },
);

testClients(
  "a page that is being left does not come back for a moment, and one that stays does",
  async () => {
    using page = new FakePage();
    using sockets = new FakeWebSockets();
    sockets.random = 0;
    const client = await open(sockets);
    // Firefox closes the connections of a page before it tells the page.
    sockets.last.end(true, 1001, "");
    await sockets.wait(2_999);
    assertStrictEquals(sockets.sockets.length, 1);
    await sockets.wait(1);
    assertStrictEquals(sockets.sockets.length, 2);
    sockets.last.protocol = "events.v1";
    sockets.last.open();
    await sockets.settle();
    // A server that says why is one that goes away.
    sockets.last.end(true, 1001, "restart");
    await sockets.wait(0);
    assertStrictEquals(sockets.sockets.length, 3);
    sockets.last.open();
    await sockets.settle();
    sockets.last.end(true, 1001, "");
    await sockets.settle();
    dispatchEvent(new Event("pagehide"));
    await sockets.wait(100_000);
    assertStrictEquals(sockets.sockets.length, 3, "it has been left");
    dispatchEvent(new Event("pageshow"));
    await sockets.settle();
    assertStrictEquals(sockets.sockets.length, 4);
    await client.close();
    await sockets.settle();
    assertStrictEquals(page.listeners, 0);
  },
);

testClients("a program that is no page listens to none", async () => {
  using sockets = new FakeWebSockets();
  const client = await open(sockets);
  dispatchEvent(new Event("online"));
  dispatchEvent(new Event("focus"));
  assertEquals(pings(sockets), 0);
  sockets.random = 0;
  sockets.last.end(true, 1001, "");
  await sockets.wait(0);
  assertStrictEquals(sockets.sockets.length, 2);
  await client.close();
});

testClients(
  "a page whose policy forbids the URL does not try again",
  async () => {
    using page = new FakePage();
    using sockets = new FakeWebSockets();
    const violate = (properties: object) =>
      page.document.dispatchEvent(
        Object.assign(new Event("securitypolicyviolation"), {
          effectiveDirective: "connect-src",
          disposition: "enforce",
          blockedURI: "ws://example.test/",
          ...properties,
        }),
      );
    for (
      const others of [
        { effectiveDirective: "img-src" },
        { disposition: "report" },
        { blockedURI: "https://example.test/" },
      ]
    ) {
      const client = new ClientSocket({ reconnect: true });
      client.connect(URL);
      await sockets.settle();
      violate(others);
      sockets.last.refuse("");
      await sockets.settle();
      assertStrictEquals(client.state, "waiting");
      await client.close();
    }
    const client = new ClientSocket({ reconnect: true });
    const refused = assertRejects(
      () => client.connect(URL),
      ConnectError,
      "Content Security Policy",
    );
    await sockets.settle();
    violate({});
    sockets.last.refuse("");
    const error = await refused;
    assertStrictEquals(error.kind, "refused");
    assertStrictEquals(client.state, "closed");
    assertStrictEquals(page.listeners, 0);
  },
);

testClients(
  "a worker whose policy forbids the URL does not try again",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new ClientSocket({ reconnect: true });
    const refused = assertRejects(() => client.connect(URL), ConnectError);
    await sockets.settle();
    dispatchEvent(
      Object.assign(new Event("securitypolicyviolation"), {
        effectiveDirective: "connect-src",
        disposition: "enforce",
        blockedURI: "ws://example.test/",
      }),
    );
    sockets.last.refuse("");
    assertStrictEquals((await refused).kind, "refused");
    assertStrictEquals(client.state, "closed");
  },
);
