import { assertEquals, assertStrictEquals } from "@std/assert";
import {
  isOffline,
  isPage,
  type PageSignal,
  watchPage,
} from "../../../core/runtime/page.ts";
import { FakePage } from "../../support/fake_page.ts";

Deno.test("watchPage() tells what has happened to a page", () => {
  using page = new FakePage();
  const told: PageSignal[] = [];
  const stop = watchPage((signal) => told.push(signal));
  const take = () => told.splice(0);
  assertStrictEquals(isPage(), true);
  page.show(false);
  assertEquals(take(), []);
  page.show(true);
  assertEquals(take(), ["shown"]);
  page.document.dispatchEvent(new Event("resume"));
  for (const type of ["focus", "pageshow"]) dispatchEvent(new Event(type));
  assertEquals(take(), ["shown", "shown", "shown"]);
  // A page that is thawed in a hidden tab is not shown.
  page.show(false);
  page.document.dispatchEvent(new Event("resume"));
  assertEquals(take(), []);
  page.network(false);
  assertStrictEquals(isOffline(), true);
  page.network(true);
  assertStrictEquals(isOffline(), false);
  dispatchEvent(new Event("pagehide"));
  assertEquals(take(), ["offline", "online", "left"]);
  stop();
  assertStrictEquals(page.listeners, 0);
  page.show(true);
  page.network(true);
  assertEquals(told, []);
});

Deno.test("watchPage() listens to nothing where there is neither a page nor a network", () => {
  assertStrictEquals(isPage(), false);
  assertStrictEquals(isOffline(), false);
  const told: PageSignal[] = [];
  const stop = watchPage((signal) => told.push(signal));
  dispatchEvent(new Event("online"));
  stop();
  assertEquals(told, []);
});
