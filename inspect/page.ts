/**
 * The page: one HTML document with its style and script. The script fetches the data
 * relative to the URL of the page, and shows it only as text.
 *
 * @module
 */

/**
 * Returns the HTML document.
 *
 * @param nonce The nonce of the content security policy.
 */
export function render(nonce: string): string {
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Connections</title>
<link rel="icon" href="data:,">
<style nonce="${nonce}">${STYLE}</style>
</head>
${BODY}
<script nonce="${nonce}">${SCRIPT}</script>
</html>
`;
}

const STYLE = `
:root {
  color-scheme: light dark;
  --ground: light-dark(#f4f5f7, #14161a);
  --card: light-dark(#ffffff, #1e2127);
  --text: light-dark(#1b1e23, #e8eaee);
  --quiet: light-dark(#59606b, #a2a9b5);
  --line: light-dark(#d9dce1, #353a44);
  --first: light-dark(#0b62c4, #6fb1ff);
  --second: light-dark(#b04a00, #ffab66);
  --third: light-dark(#8a1c7c, #f29be6);
  --good: light-dark(#1a7a3c, #5fd38a);
  --bad: light-dark(#b3261e, #ff8a80);
}
* { box-sizing: border-box; }
body {
  background: var(--ground);
  color: var(--text);
  font: 0.9375rem/1.45 system-ui, sans-serif;
  margin: 0 auto;
  max-width: 90rem;
  padding: 1rem;
}
header, .bar, .pager { align-items: center; display: flex; flex-wrap: wrap; gap: 0.5rem 1rem; }
header { margin-bottom: 1rem; }
h1 { font-size: 1.25rem; margin: 0; }
h2 { font-size: 1rem; margin: 0; }
#host { color: var(--quiet); overflow-wrap: anywhere; }
#status { margin-left: auto; }
#adapter { margin: 0 0 0.75rem; overflow-wrap: anywhere; }
#adapter::before { content: "\\25CF  "; color: var(--good); }
#adapter.bad::before { color: var(--bad); }
#status::before { content: "\\25CF  "; color: var(--good); }
#status.bad::before { color: var(--bad); }
#status.paused::before { content: "\\275A\\275A  "; color: var(--quiet); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 0.5rem; margin-bottom: 1rem; padding: 0.75rem 1rem; }
.tiles, .plots { background: none; border: 0; display: grid; gap: 0.75rem; padding: 0; }
.tiles { grid-template-columns: repeat(auto-fit, minmax(7.25rem, 1fr)); margin-top: 0; }
.plots { grid-template-columns: repeat(auto-fit, minmax(min(17rem, 100%), 1fr)); }
.tiles div, figure { background: var(--card); border: 1px solid var(--line); border-radius: 0.5rem; margin: 0; padding: 0.6rem 0.8rem; }
dt { color: var(--quiet); font-size: 0.8125rem; }
dd { font-size: 1.25rem; font-variant-numeric: tabular-nums; font-weight: 600; margin: 0; }
figcaption { display: flex; flex-wrap: wrap; font-weight: 600; gap: 0 0.75rem; justify-content: space-between; }
figcaption span { color: var(--quiet); font-size: 0.8125rem; font-weight: 400; }
svg { display: block; height: 6rem; margin: 0.4rem 0; overflow: visible; width: 100%; }
svg path { fill: none; stroke-width: 1.75; vector-effect: non-scaling-stroke; }
svg .grid { stroke: var(--line); stroke-width: 1; }
.s0 { stroke: var(--first); }
.s1 { stroke: var(--second); stroke-dasharray: 5 2; }
.s2 { stroke: var(--third); stroke-dasharray: 2 2; }
.legend { display: flex; flex-wrap: wrap; font-size: 0.8125rem; gap: 0 1rem; list-style: none; margin: 0; min-height: 1.4em; padding: 0; }
.legend svg { display: inline-block; height: 0.5rem; margin: 0 0.35rem 0 0; width: 1.5rem; }
.ends { color: var(--quiet); display: flex; font-size: 0.75rem; justify-content: space-between; }
.bar { margin-bottom: 0.6rem; }
.bar form { display: flex; flex: 1; flex-wrap: wrap; gap: 0.5rem; justify-content: flex-end; }
input, select, button { background: var(--card); border: 1px solid var(--quiet); border-radius: 0.35rem; color: inherit; font: inherit; min-height: 2.25rem; padding: 0.2rem 0.7rem; }
::placeholder { color: var(--quiet); opacity: 1; }
input { flex: 0 1 20rem; min-width: 8rem; }
button { cursor: pointer; }
button:disabled { cursor: default; opacity: 0.5; }
:focus-visible { outline: 2px solid var(--first); outline-offset: 2px; }
.scroll { max-height: 32rem; overflow: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: 0.35rem 0.8rem 0.35rem 0; text-align: left; unicode-bidi: isolate; vertical-align: top; white-space: nowrap; }
td.long { overflow-wrap: anywhere; white-space: normal; }
th { color: var(--quiet); font-size: 0.8125rem; font-weight: 600; vertical-align: baseline; }
th button { border: 0; color: inherit; font-weight: inherit; min-height: 0; padding: 0.2rem 0; }
th[aria-sort="ascending"] button::after { content: " \\2191"; }
th[aria-sort="descending"] button::after { content: " \\2193"; }
td.number, th.number { font-variant-numeric: tabular-nums; text-align: right; }
td:last-child, th:last-child { padding-right: 0; }
td.act { text-align: right; }
td button { min-height: 1.9rem; padding: 0.05rem 0.6rem; }
td.id { min-width: 9.5rem; }
td.path { min-width: 6.5rem; }
td.id, td.code { font-family: ui-monospace, monospace; font-size: 0.8125rem; }
tr:last-child td { border-bottom: 0; }
.chip { margin: 0 0.3rem 0.2rem 0; max-width: 20rem; overflow-wrap: anywhere; text-align: left; }
.empty, .note { color: var(--quiet); }
.pager { justify-content: flex-end; margin-top: 0.6rem; }
.pager span { font-variant-numeric: tabular-nums; }
.pair { display: grid; gap: 1rem; grid-template-columns: minmax(0, 2fr) minmax(0, 1fr); }
.pair > * { margin: 0; }
.block { margin-bottom: 1rem; }
dialog { background: var(--card); border: 1px solid var(--line); border-radius: 0.5rem; color: inherit; max-width: 30rem; overflow-wrap: anywhere; padding: 1.25rem; }
dialog::backdrop { background: #0008; }
dialog p { margin: 0 0 1rem; }
dialog div { display: flex; gap: 0.75rem; justify-content: flex-end; }
.danger { border-color: var(--bad); color: var(--bad); }
.hidden { clip-path: inset(50%); height: 1px; overflow: hidden; position: absolute; white-space: nowrap; width: 1px; }
[hidden] { display: none; }
@media (max-width: 56rem) {
  body { padding: 0.75rem; }
  .pair { grid-template-columns: minmax(0, 1fr); }
  .tiles { grid-template-columns: repeat(auto-fit, minmax(6.5rem, 1fr)); gap: 0.5rem; }
  dd { font-size: 1.05rem; }
  .bar form { justify-content: flex-start; flex-basis: 100%; }
  input { flex: 1 1 10rem; }
  table, tbody, tr { display: block; }
  thead { clip-path: inset(50%); height: 1px; overflow: hidden; position: absolute; }
  tr { border-bottom: 1px solid var(--line); display: grid; gap: 0 1rem; grid-template-columns: 1fr 1fr; padding: 0.5rem 0; }
  tr:last-child { border-bottom: 0; }
  td, td.number, td.act { border: 0; overflow-wrap: anywhere; padding: 0.1rem 0; text-align: left; white-space: normal; }
  td[data-label]::before { color: var(--quiet); content: attr(data-label); display: block; font: 0.75rem system-ui, sans-serif; }
  td.wide { grid-column: 1 / -1; }
  #host { flex-basis: 100%; order: 1; }
  td.act button { min-height: 2.5rem; padding: 0.2rem 1rem; }
}
@media (min-width: 56.01rem) { #order { display: none; } }
`;

const BODY = `<body>
<header>
  <h1>Connections</h1>
  <span id="host"></span>
  <span id="status" role="status">Loading</span>
  <button id="pause" type="button" aria-pressed="false">Pause</button>
</header>
<main>
<noscript><p>This page needs JavaScript.</p></noscript>
<p id="adapter" role="status" hidden></p>
<dl class="tiles block" id="tiles"></dl>
<div class="plots block" id="plots"></div>
<section aria-labelledby="list-title">
  <div class="bar">
    <h2 id="list-title">Live connections</h2>
    <form id="filter" role="search">
      <button type="button" class="chip" id="room" hidden></button>
      <label class="hidden" for="search">Search connections</label>
      <input id="search" type="search" maxlength="200" autocomplete="off" placeholder="Id, address, path, room">
      <span id="order"><label class="hidden" for="sort">Sort by</label><select id="sort"></select></span>
    </form>
  </div>
  <table role="table" aria-labelledby="list-title"><thead id="heads" role="rowgroup"></thead><tbody id="list" role="rowgroup"></tbody></table>
  <p class="empty" id="list-empty" hidden>No connections.</p>
  <div class="pager">
    <span id="range"></span>
    <button id="before" type="button">Previous</button>
    <button id="after" type="button">Next</button>
  </div>
</section>
<div class="pair block">
  <section aria-labelledby="ends-title">
    <div class="bar"><h2 id="ends-title">Recent ends</h2></div>
    <div class="scroll" tabindex="0" role="region" aria-labelledby="ends-title"><table role="table" aria-labelledby="ends-title"><thead role="rowgroup"></thead><tbody id="ends" role="rowgroup"></tbody></table></div>
    <p class="empty" id="ends-empty" hidden>None yet.</p>
  </section>
  <section aria-labelledby="rooms-title">
    <div class="bar"><h2 id="rooms-title">Rooms</h2><span class="note" id="rooms-note"></span></div>
    <div class="scroll" tabindex="0" role="region" aria-labelledby="rooms-title"><table role="table" aria-labelledby="rooms-title"><thead role="rowgroup"></thead><tbody id="rooms" role="rowgroup"></tbody></table></div>
    <p class="empty" id="rooms-empty" hidden>No rooms.</p>
  </section>
</div>
<section aria-labelledby="refusals-title">
  <div class="bar"><h2 id="refusals-title">Recent refusals</h2></div>
  <div class="scroll" tabindex="0" role="region" aria-labelledby="refusals-title"><table role="table" aria-labelledby="refusals-title"><thead role="rowgroup"></thead><tbody id="refusals" role="rowgroup"></tbody></table></div>
  <p class="empty" id="refusals-empty" hidden>None yet.</p>
</section>
</main>
<dialog id="sure" aria-labelledby="sure-text">
  <p id="sure-text" aria-live="polite"></p>
  <div>
    <button type="button" id="sure-no">Cancel</button>
    <button type="button" id="sure-yes" class="danger">Close connection</button>
  </div>
</dialog>
</body>`;

const SCRIPT = `
"use strict";
(() => {
  const EVERY = 2000;
  const LIMIT = 50;
  const STATES = ["connecting", "open", "closing", "ended"];
  const SVG = "http://www.w3.org/2000/svg";
  const find = (id) => document.getElementById(id);
  const query = { search: "", room: undefined, sort: "age", offset: 0 };
  let isPaused = false;
  let last = 0; // the number of the last fetch
  let timer;
  let selectedId; // the connection to close

  // Formatting.

  const integers = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
  const twoDigits = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 2 });
  const count = (n) => n > 0 && n < 10 ? twoDigits.format(n) : integers.format(n);
  function bytes(n) {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = 0;
    for (; n >= 1024 && unit < units.length - 1; unit++) n /= 1024;
    return (unit > 0 && n < 10 ? n.toFixed(1) : integers.format(n)) + "\\u00a0" + units[unit];
  }
  function span(ms) {
    const s = Math.max(0, Math.floor(ms / 1000));
    if (s < 60) return s + "\\u00a0s";
    const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
    const first = parts.findIndex(([size]) => s >= size);
    const [size, name] = parts[first];
    const [less, lesser] = parts[first + 1];
    const rest = Math.floor(s % size / less);
    return Math.floor(s / size) + "\\u00a0" + name + (rest ? " " + rest + "\\u00a0" + lesser : "");
  }
  const both = ({ messages, bytes: size }) => count(messages) + " / " + bytes(size);
  const clock = (time) => new Date(time).toLocaleTimeString();

  // Elements. Their content is text, never markup.

  function createElement(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }
  function createSvgElement(name, attributes) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  }
  function setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  // Tables. Unchanged rows are not replaced, so that the focus and the selection stay.

  function table(id, columns, keyOf) {
    const body = find(id);
    const head = body.parentElement.tHead;
    head.append(createElement("tr", { role: "row" }, ...columns.map((column) => {
      const cell = createElement("th", { role: "columnheader", scope: "col", class: column.class || "" });
      if (column.sort) {
        const button = createElement("button", { type: "button" }, column.label);
        button.addEventListener("click", () => sortBy(column.sort));
        cell.dataset.sort = column.sort;
        cell.append(button);
      } else if (column.class === "act wide") cell.append(createElement("span", { class: "hidden" }, column.label));
      else cell.append(column.label);
      return cell;
    })));
    return (rows) => {
      const keys = rows.map(keyOf);
      const old = new Map(Array.from(body.rows, (row) => [row.dataset.key, row]));
      // First, as rows after them would otherwise be moved, and lose the focus.
      const keysInUse = new Set(keys);
      for (const [key, row] of old) if (!keysInUse.has(key)) row.remove();
      rows.forEach((data, index) => {
        const key = keys[index];
        let row = old.get(key);
        if (!row) {
          row = createElement("tr", { role: "row" }, ...columns.map((column) => {
            const cell = createElement("td", { role: "cell", class: column.class || "" });
            if (column.class !== "act wide") cell.dataset.label = column.label;
            return cell;
          }));
          row.dataset.key = key;
        }
        columns.forEach((column, i) => {
          const value = column.show(data);
          const cell = row.cells[i];
          if (typeof value === "string") return setText(cell, value);
          if (cell.dataset.now === value.now) return;
          cell.dataset.now = value.now;
          cell.replaceChildren(...value.make());
        });
        if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] || null);
      });
      find(id + "-empty").hidden = rows.length > 0;
      body.parentElement.hidden = rows.length === 0;
    };
  }
  function chip(room) {
    if (room.length > 200) return createElement("span", { class: "chip" }, room, " "); // truncated
    const button = createElement("button", { type: "button", class: "chip", title: "Show the connections in this room" }, room);
    button.addEventListener("click", () => {
      query.room = room;
      query.offset = 0;
      refresh();
      find("search").scrollIntoView({ block: "center" });
    });
    return button;
  }
  const chips = (rooms, more) => ({
    now: JSON.stringify([rooms, more]),
    make: () => [...rooms.map(chip), ...(more > 0 ? ["and " + count(more) + " more"] : [])],
  });

  const showList = table("list", [
    { label: "Address", sort: "address", show: (c) => c.remoteAddress },
    { label: "Path", sort: "path", class: "long path", show: (c) => c.path },
    { label: "Age", sort: "age", class: "number", show: (c) => span(c.age) },
    { label: "State", show: (c) => STATES[c.readyState] },
    { label: "Rooms", sort: "rooms", class: "long wide", show: (c) => chips(c.rooms, c.roomCount - c.rooms.length) },
    { label: "Received", sort: "received", class: "number", show: (c) => both(c.received) },
    { label: "Sent", sort: "sent", class: "number", show: (c) => both(c.sent) },
    { label: "Waiting", sort: "buffered", class: "number", show: (c) => bytes(c.bufferedAmount) },
    { label: "Subprotocol", class: "long", show: (c) => [c.protocol, c.speaksEvents ? "events.v1" : ""].filter(Boolean).join(", ") || "none" },
    { label: "Id", class: "id long wide", show: (c) => c.id },
    { label: "Action", class: "act wide", show: (c) => ({
      now: String(c.readyState === 1),
      make: () => c.readyState === 1 ? [closer(c)] : [],
    }) },
  ], (c) => c.id);
  const showRooms = table("rooms", [
    { label: "Room", class: "long", show: (r) => chips([r.room], 0) },
    { label: "Connections", class: "number", show: (r) => count(r.size) },
  ], (r, i) => String(i));
  const showEnds = table("ends", [
    { label: "Time", class: "number", show: (e) => clock(e.time) },
    { label: "End", show: (e) => e.type },
    { label: "Code", class: "code", show: (e) => String(e.code) },
    { label: "Cause", show: (e) => e.cause },
    { label: "Reason", class: "long wide", show: (e) => e.reason || "none" },
    { label: "Address", show: (e) => e.remoteAddress },
    { label: "Path", class: "long path", show: (e) => e.path },
    { label: "Age", class: "number", show: (e) => span(e.age) },
  ], (e) => e.id);
  const showRefusals = table("refusals", [
    { label: "Time", class: "number", show: (r) => clock(r.time) },
    { label: "Status", class: "code", show: (r) => String(r.status) },
    { label: "Reason", class: "long wide", show: (r) => r.reason },
    { label: "Method", class: "long", show: (r) => r.method },
    { label: "Path", class: "long path", show: (r) => r.path || "none" },
    { label: "Address", show: (r) => r.remoteAddress },
  ], (r, i) => String(i));

  // Figures and plots.

  const TILES = [
    ["Connections", (s) => count(s.connections.total)],
    ["Rooms", (s) => count(s.rooms.total)],
    ["Messages in", (s) => count(s.rates.messagesReceived) + "/s"],
    ["Messages out", (s) => count(s.rates.messagesSent) + "/s"],
    ["Bytes in", (s) => bytes(s.rates.bytesReceived) + "/s"],
    ["Bytes out", (s) => bytes(s.rates.bytesSent) + "/s"],
    ["Connects", (s) => count(s.rates.connects) + "/s"],
    ["Ends", (s) => count(s.rates.ends) + "/s"],
    ["Refusals", (s) => count(s.rates.refusals) + "/s"],
  ].map(([label, show]) => {
    const value = createElement("dd", {}, "\\u2013");
    find("tiles").append(createElement("div", {}, createElement("dt", {}, label), value));
    return (state) => setText(value, show(state));
  });

  const PLOTS = [
    plot("Connections", count, false, [["connections", "open"]]),
    plot("Messages", (n) => count(n) + "/s", true, [["messagesReceived", "in"], ["messagesSent", "out"]]),
    plot("Bytes", (n) => bytes(n) + "/s", true, [["bytesReceived", "in"], ["bytesSent", "out"]]),
    plot("Connects and ends", (n) => count(n) + "/s", true, [["connects", "connects"], ["ends", "ends"], ["refusals", "refusals"]]),
  ];
  function plot(title, show, isRate, series) {
    const picture = createSvgElement("svg", { viewBox: "0 0 300 100", preserveAspectRatio: "none", role: "img" });
    picture.append(createSvgElement("path", { class: "grid", d: "M0 0H300M0 50H300M0 100H300" }));
    const most = createElement("span");
    const from = createElement("span");
    const legend = createElement("ul", { class: "legend" });
    const lines = series.map(([field, label], i) => {
      const line = createSvgElement("path", { class: "s" + i });
      const key = createSvgElement("svg", { viewBox: "0 0 24 8", "aria-hidden": "true" });
      key.append(createSvgElement("path", { class: "s" + i, d: "M0 4H24" }));
      const words = createElement("span");
      picture.append(line);
      legend.append(createElement("li", {}, key, words));
      return { field, label, line, words };
    });
    find("plots").append(createElement("figure", {}, createElement("figcaption", {}, title, most), picture,
      createElement("div", { class: "ends", "aria-hidden": "true" }, from, createElement("span", {}, "now")), legend));
    return ({ history, rates }) => {
      const length = history.connections.length;
      const scale = isRate ? history.every / 1000 : 1;
      const values = lines.map(({ field }) => history[field].map((n) => n / scale));
      const peak = Math.max(0, ...values.flat());
      const sliceCount = 150; // slices in the whole width
      const x = (i) => (300 * (sliceCount - length + i + 1) / sliceCount).toFixed(1);
      const y = (n) => (100 - 100 * n / (peak || 1)).toFixed(1);
      lines.forEach(({ field, label, line, words }, s) => {
        line.setAttribute("d", values[s].map((n, i) => (i ? "L" : "M") + x(i) + " " + y(n)).join(""));
        setText(words, label + " " + show(rates[field]));
      });
      setText(most, "at most " + show(peak));
      setText(from, span(sliceCount * history.every) + " ago");
      picture.setAttribute("aria-label", title + " over the last " + span(length * history.every) +
        ": " + lines.map(({ field, label }, s) => label + " " + show(rates[field]) +
        " now, at most " + show(Math.max(0, ...values[s]))).join("; "));
    };
  }

  // Order, search and pages.

  const ORDERS = [
    ["age", "Newest first"], ["-age", "Oldest first"],
    ["-received", "Most received"], ["-sent", "Most sent"],
    ["-buffered", "Most waiting"], ["-rooms", "Most rooms"],
    ["address", "Address"], ["path", "Path"],
  ];
  find("sort").append(...ORDERS.map(([value, label]) => createElement("option", { value }, label)));
  function sortBy(field) {
    const isDown = ["received", "sent", "buffered", "rooms"].includes(field);
    const natural = (isDown ? "-" : "") + field;
    const other = (isDown ? "" : "-") + field;
    query.sort = query.sort === natural ? other : natural;
    query.offset = 0;
    refresh();
  }
  find("sort").addEventListener("change", (event) => {
    query.sort = event.target.value;
    query.offset = 0;
    refresh();
  });
  let typing;
  find("search").addEventListener("input", (event) => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      query.search = event.target.value.trim();
      query.offset = 0;
      refresh();
    }, 250);
  });
  find("filter").addEventListener("submit", (event) => event.preventDefault());
  find("room").addEventListener("click", () => {
    query.room = undefined;
    query.offset = 0;
    refresh();
    find("search").focus();
  });
  find("before").addEventListener("click", () => {
    query.offset = Math.max(0, query.offset - LIMIT);
    refresh();
  });
  find("after").addEventListener("click", () => {
    query.offset += LIMIT;
    refresh();
  });

  // Closing connections.

  function closer({ id, remoteAddress }) {
    const button = createElement("button", { type: "button", "aria-label": "Close the connection of " + remoteAddress }, "Close");
    button.addEventListener("click", () => {
      selectedId = id;
      setText(find("sure-text"), "Close the connection of " + remoteAddress + " with code 1000? The client will not reconnect automatically.");
      find("sure").showModal();
    });
    return button;
  }
  find("sure-no").addEventListener("click", () => find("sure").close());
  find("sure-yes").addEventListener("click", async () => {
    const id = selectedId;
    try {
      await get({ close: id }, { method: "POST" });
      if (id === selectedId) find("sure").close();
      refresh();
    } catch (error) {
      // In the dialog, as the next fetch would replace the status.
      if (id === selectedId) setText(find("sure-text"), "Not closed: " + error.message);
    }
  });

  // The data.

  function setStatus(text, kind = "") {
    setText(find("status"), text);
    find("status").className = kind;
  }
  // The URL of the page may contain a password, which fetch() does not allow.
  const here = location.origin + location.pathname;
  async function get(params, init) {
    const response = await fetch(here + "?" + new URLSearchParams(params), {
      ...init, cache: "no-store", redirect: "error", signal: AbortSignal.timeout(10000),
    });
    if (!response.ok) throw new Error("the server responded with " + response.status);
    return response;
  }
  async function refresh() {
    clearTimeout(timer);
    const number = ++last;
    const { search, room, sort, offset } = query;
    const params = { state: "", search, sort, offset, limit: LIMIT };
    if (room !== undefined) params.room = room;
    try {
      const state = await (await get(params)).json();
      if (number !== last) return;
      if (query.offset > 0 && query.offset >= state.connections.matching) {
        query.offset = Math.max(0, Math.ceil(state.connections.matching / LIMIT) - 1) * LIMIT;
        return refresh();
      }
      show(state);
      if (isPaused) setStatus("Paused", "paused");
      else setStatus("Live");
    } catch (error) {
      if (number !== last) return;
      setStatus("Disconnected: " + error.message, "bad");
    }
    if (!isPaused && !document.hidden) timer = setTimeout(refresh, EVERY);
  }
  function showAdapter(adapter) {
    find("adapter").hidden = !adapter;
    if (!adapter) return;
    const { state, age, lastError, servers, missed } = adapter;
    find("adapter").className = state === "up" ? "" : "bad";
    setText(find("adapter"), "The broker is " + state + " for " + span(age) + ", " +
      count(servers) + (servers === 1 ? " server" : " servers") +
      (missed > 0 ? ", " + count(missed) + " messages missed by others" : "") +
      (lastError ? ". Last error: " + lastError : ""));
  }
  function show(state) {
    for (const tile of TILES) tile(state);
    for (const one of PLOTS) one(state);
    showAdapter(state.adapter);
    const { total, matching, rows } = state.connections;
    showList(rows);
    const isFiltered = query.search !== "" || query.room !== undefined;
    setText(find("list-empty"), isFiltered ? "No matches." : "No connections.");
    setText(find("range"), matching === 0 ? "" :
      count(query.offset + 1) + "\\u2013" + count(query.offset + rows.length) + " of " + count(matching) +
      (matching < total ? " matching, " + count(total) + " in all" : ""));
    find("before").disabled = query.offset === 0;
    find("after").disabled = query.offset + rows.length >= matching;
    find("room").hidden = query.room === undefined;
    setText(find("room"), query.room === undefined ? "" : "In room " + query.room + " \\u00d7");
    find("sort").value = query.sort;
    for (const cell of document.querySelectorAll("th[data-sort]")) {
      const isUp = cell.dataset.sort === query.sort;
      const isDown = "-" + cell.dataset.sort === query.sort;
      cell.setAttribute("aria-sort", isUp ? "ascending" : isDown ? "descending" : "none");
    }
    showRooms(state.rooms.rows);
    setText(find("rooms-note"), state.rooms.total > state.rooms.rows.length
      ? "the largest " + count(state.rooms.rows.length) + " of " + count(state.rooms.total) : "");
    showEnds(state.ends);
    showRefusals(state.refusals);
  }
  find("pause").addEventListener("click", () => {
    isPaused = !isPaused;
    find("pause").setAttribute("aria-pressed", String(isPaused));
    refresh();
  });
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden && !isPaused) refresh();
  });
  setText(find("host"), location.host);
  document.title = "Connections of " + location.host;
  refresh();
})();
`;
