import { assertEquals, assertThrows } from "@std/assert";
import { ChannelPattern } from "../../../core/channels/channel_pattern.ts";

Deno.test("ChannelPattern.match() returns decoded parameters", () => {
  const pattern = new ChannelPattern("shops/:shop/orders/:id");
  assertEquals(pattern.match("shops/a%2Fb/orders/%25"), {
    shop: "a/b",
    id: "%",
  });
  assertEquals(pattern.match("shops/1/orders/2"), { shop: "1", id: "2" });
  assertEquals(new ChannelPattern("lobby").match("lobby"), {});
});

Deno.test("ChannelPattern.match() refuses other names", () => {
  const pattern = new ChannelPattern("orders/:id");
  const names = ["orders", "orders/", "orders/1/2", "order/1", "/orders/1", ""];
  for (const name of names) assertEquals(pattern.match(name), undefined, name);
});

Deno.test("ChannelPattern.match() accepts one encoding of a parameter", () => {
  const pattern = new ChannelPattern("orders/:id");
  const others = ["%34%32", "a b", "a+b@c", "%", "%ff", "%2f", "\ud800", "é"];
  for (const id of others) {
    assertEquals(pattern.match(`orders/${id}`), undefined, id);
  }
  for (const id of ["a b", "a+b@c", "%", "é", "__proto__", "'(~)!*"]) {
    const name = `orders/${encodeURIComponent(id)}`;
    assertEquals(pattern.match(name)?.id, id);
  }
});

Deno.test("ChannelPattern refuses invalid patterns", () => {
  for (const pattern of ["", ":", "a/:1", "a/:b-c", ":a/:a"]) {
    assertThrows(() => new ChannelPattern(pattern), TypeError, "Cannot use");
  }
});
