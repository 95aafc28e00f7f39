import { channel } from "@ws/events/channels";
import { ClientSocket } from "@ws/events/client";

/** A price, and when it was sent; a snapshot has no time. */
type Price = { price: number; at?: number };

const client = new ClientSocket({ reconnect: true });
const prices = document.querySelector("#prices");
const status = document.querySelector("#status");
let changes = 0;
let oldest = 0;

for (let i = 1_000; i < 2_000; i++) {
  const cell = document.createElement("span");
  prices?.append(cell);
  let last = 0;
  const show = ({ price, at = Date.now() }: Price) => {
    cell.textContent = `S${i} ${price.toFixed(2)}`;
    cell.className = price < last ? "down" : "up";
    last = price;
    changes++;
    oldest = Math.max(oldest, Date.now() - at);
  };
  const feed = channel<{ incoming: Price; snapshot: Price }>(
    client,
    `prices/S${i}`,
  );
  feed.on("open", show);
  feed.on("message", ({ data }) => show(data));
}

setInterval(() => {
  if (status) {
    status.textContent =
      `${client.state}: ${changes} changes in this second, the oldest ${oldest} ms old`;
  }
  changes = oldest = 0;
}, 1_000);

client.connect(new URL("/prices", location.href.replace("http", "ws")));
