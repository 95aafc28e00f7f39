/**
 * The script of the page.
 *
 * @module
 */

import { CHARTS } from "./charts.ts";

/** A script without modules. */
export const SCRIPT = `
"use strict";
(() => {
  const EVERY = 2000;
  const LIMIT = 50;
  const STATES = ["connecting", "open", "closing", "ended"];
  const SVG = "http://www.w3.org/2000/svg";
  const find = (id) => document.getElementById(id);
  const query = { tab: "list", search: "", room: undefined, sort: "age", offset: 0, client: undefined };
  let isPaused = false;
  let last = 0; // the number of the last fetch
  let timer;
  let selectedId; // the connection to close
  let isReadOnly = true;

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
    const isGrid = body.parentElement.getAttribute("role") === "grid";
    if (isGrid) rove(body);
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
            const cell = createElement("td", { role: isGrid ? "gridcell" : "cell", class: column.class || "" });
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
      if (isGrid) keepOneTabStop(body);
      find(id + "-empty").hidden = rows.length > 0;
      body.parentElement.hidden = rows.length === 0;
    };
  }
  // A table with controls is one tab stop; the arrow keys move within it.

  const controlsOf = (parent) => Array.from(parent.querySelectorAll("button"));
  function keepOneTabStop(body, current = body.contains(document.activeElement) ? document.activeElement : undefined) {
    const controls = controlsOf(body);
    const stop = current || controls.find((one) => one.tabIndex === 0) || controls[0];
    for (const one of controls) one.tabIndex = one === stop ? 0 : -1;
  }
  function rove(body) {
    body.addEventListener("focusin", (event) => keepOneTabStop(body, event.target));
    body.addEventListener("keydown", (event) => {
      const row = event.target.closest("tr");
      const rows = Array.from(body.rows).filter((one) => controlsOf(one).length > 0);
      const own = controlsOf(row);
      const place = own.indexOf(event.target);
      const at = rows.indexOf(row);
      const target = {
        ArrowRight: () => own[place + 1],
        ArrowLeft: () => own[place - 1],
        ArrowDown: () => inRow(rows[at + 1], place),
        ArrowUp: () => inRow(rows[at - 1], place),
        Home: () => inRow(rows[0], place),
        End: () => inRow(rows.at(-1), place),
      }[event.key]?.();
      if (!target) return;
      event.preventDefault();
      target.focus();
    });
  }
  function inRow(row, place) {
    const controls = row ? controlsOf(row) : [];
    return controls[Math.min(place, controls.length - 1)];
  }

  function chip(room) {
    if (room.length > 200) return createElement("span", { class: "chip" }, room, " "); // truncated
    const button = createElement("button", { type: "button", class: "chip", tabindex: "-1", title: "Show the connections in this room" }, room);
    button.addEventListener("click", () => {
      go({ tab: "list", room, offset: 0, client: undefined });
    });
    return button;
  }
  const chips = (rooms, more) => ({
    now: JSON.stringify([rooms, more]),
    make: () => [...rooms.map(chip), ...(more > 0 ? ["and " + count(more) + " more"] : [])],
  });

  const protocols = (c) => [c.protocol, c.speaksEvents ? "events.v1" : ""].filter(Boolean).join(", ") || "none";
  const showList = table("list", [
    { label: "Address", sort: "address", class: "long address", show: (c) => ({
      now: c.remoteAddress,
      make: () => [opener(c)],
    }) },
    { label: "Path", sort: "path", class: "long path", show: (c) => c.path },
    { label: "Age", sort: "age", class: "number", show: (c) => span(c.age) },
    { label: "Rooms", sort: "rooms", class: "long wide", show: (c) => chips(c.rooms, c.roomCount - c.rooms.length) },
    { label: "Received", sort: "received", class: "number", show: (c) => both(c.received) },
    { label: "Sent", sort: "sent", class: "number", show: (c) => both(c.sent) },
    { label: "Waiting", sort: "buffered", class: "number", show: (c) => bytes(c.bufferedAmount) },
    { label: "Action", class: "act wide", show: (c) => {
      const canClose = c.readyState === 1 && !isReadOnly;
      return { now: String(canClose), make: () => canClose ? [closer(c)] : [] };
    } },
  ], (c) => c.id);
  const showRooms = table("rooms", [
    { label: "Room", class: "long", show: (r) => chips([r.room], 0) },
    { label: "Connections", class: "number", show: (r) => count(r.size) },
  ], (r, i) => String(i));
  const given = (value, show) => value === undefined ? "unknown" : show(value);
  const showServers = table("servers", [
    { label: "Server", class: "long", show: (s) => (s.label || s.url || "without an inspect page") + (s.isThis ? " (this one)" : "") },
    { label: "Connections", class: "number", show: (s) => given(s.connections, count) },
    { label: "Rooms", class: "number", show: (s) => given(s.rooms, count) },
    { label: "Messages in", class: "number", show: (s) => given(s.messagesReceived, (n) => count(n) + "/s") },
    { label: "Messages out", class: "number", show: (s) => given(s.messagesSent, (n) => count(n) + "/s") },
    { label: "Memory", class: "number", show: (s) => given(s.memory, bytes) },
    { label: "Uptime", class: "number", show: (s) => given(s.uptime, span) },
    { label: "Broker", show: (s) => given(s.adapter, String) },
  ], (s, i) => String(i));
  const showEnds = table("ends", [
    { label: "Time", class: "number", show: (e) => clock(e.time) },
    { label: "End", show: (e) => e.type },
    { label: "Code", class: "code", show: (e) => String(e.code) },
    { label: "Cause", show: (e) => e.cause },
    { label: "Reason", class: "long wide reason", show: (e) => e.reason || "none" },
    { label: "Address", class: "long address", show: (e) => e.remoteAddress },
    { label: "Path", class: "long path", show: (e) => e.path },
    { label: "Age", class: "number", show: (e) => span(e.age) },
  ], (e) => e.id);
  const showRefusals = table("refusals", [
    { label: "Time", class: "number", show: (r) => clock(r.time) },
    { label: "Status", class: "code", show: (r) => String(r.status) },
    { label: "Reason", class: "long wide reason", show: (r) => r.reason },
    { label: "Method", class: "long", show: (r) => r.method },
    { label: "Path", class: "long path", show: (r) => r.path || "none" },
    { label: "Address", class: "long address", show: (r) => r.remoteAddress },
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
    ["Waiting", (s) => bytes(s.server.bufferedAmount)],
    ["Dropped", (s) => count(s.server.dropped)],
    ["Memory", (s) => bytes(s.server.memory)],
    ["Uptime", (s) => span(s.server.uptime)],
  ].map(([label, show]) => {
    const value = createElement("dd", {}, "\\u2013");
    find("tiles").append(createElement("div", {}, createElement("dt", {}, label), value));
    return (state) => setText(value, show(state));
  });

${CHARTS}
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
    go({ sort: query.sort === natural ? other : natural, offset: 0 });
  }
  find("sort").addEventListener("change", (event) => {
    go({ sort: event.target.value, offset: 0 });
  });
  let typing;
  find("search").addEventListener("input", (event) => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      go({ search: event.target.value.trim(), offset: 0 });
    }, 250);
  });
  find("filter").addEventListener("submit", (event) => event.preventDefault());
  find("room").addEventListener("click", () => {
    go({ room: undefined, offset: 0 });
    find("search").focus();
  });
  find("before").addEventListener("click", () => {
    go({ offset: Math.max(0, query.offset - LIMIT) });
  });
  find("after").addEventListener("click", () => {
    go({ offset: query.offset + LIMIT });
  });

  // The address bar has the state of the page in its fragment, so that links, reloading
  // and going back work.

  const TABS = ["list", "rooms", "servers", "ends", "refusals"];
  function readAddress() {
    const params = new URLSearchParams(location.hash.slice(1));
    query.tab = TABS.includes(params.get("tab")) ? params.get("tab") : "list";
    query.search = params.get("search") || "";
    query.room = params.has("room") ? params.get("room") : undefined;
    query.sort = ORDERS.some(([value]) => value === params.get("sort")) || /^-?[a-z]+$/.test(params.get("sort") || "")
      ? params.get("sort") : "age";
    query.offset = Math.floor(Math.max(0, Math.min(Number(params.get("offset")) || 0, 1e8)));
    query.client = params.get("client") || undefined;
    find("search").value = query.search;
    showTab();
  }
  function go(changes) {
    const isStep = "tab" in changes || "client" in changes || "room" in changes;
    Object.assign(query, changes);
    const params = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) {
      const isDefault = { tab: "list", sort: "age", search: "", offset: 0 }[name] === value;
      if (value !== undefined && !isDefault) params.set(name, value);
    }
    const hash = params.size > 0 ? "#" + params : location.pathname;
    history[isStep ? "pushState" : "replaceState"](null, "", hash);
    showTab();
    refresh();
  }
  addEventListener("popstate", () => { readAddress(); refresh(); });
  function showTab() {
    for (const name of TABS) {
      const tab = find("tab-" + name);
      const isShown = name === query.tab;
      tab.setAttribute("aria-selected", String(isShown));
      tab.tabIndex = isShown ? 0 : -1;
      find("panel-" + name).hidden = !isShown;
    }
  }
  for (const name of TABS) {
    const tab = find("tab-" + name);
    tab.addEventListener("click", () => go({ tab: name }));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const tabs = TABS.filter((one) => !find("tab-" + one).hidden);
      const next = tabs[(tabs.indexOf(name) + step + tabs.length) % tabs.length];
      go({ tab: next });
      find("tab-" + next).focus();
    });
  }

  // One connection.

  function opener({ id, remoteAddress }) {
    const button = createElement("button", { type: "button", class: "link", tabindex: "-1", title: "Show this connection" }, remoteAddress || "unknown");
    button.addEventListener("click", () => go({ client: id }));
    return button;
  }
  function showDetail(client) {
    const dialog = find("detail");
    if (query.client === undefined) return dialog.close();
    if (!dialog.open) dialog.showModal();
    find("detail-close").hidden = isReadOnly || client?.readyState !== 1;
    const facts = client ? [
      ["Id", client.id], ["Address", client.remoteAddress], ["Path", client.path],
      ["State", STATES[client.readyState]], ["Age", span(client.age)],
      ["Subprotocol", protocols(client)],
      ["Received", both(client.received)], ["Sent", both(client.sent)],
      ["Waiting to be sent", bytes(client.bufferedAmount)],
      ["Dropped", count(client.dropped.incoming) + " incoming, " + count(client.dropped.outgoing) + " outgoing"],
      ["Rooms", client.rooms.join(", ") || "none"],
      ["Headers", client.headers.map(([name, value]) => name + ": " + value).join("\\n") || "none kept"],
    ] : [["State", "ended, or unknown to this server"], ["Id", query.client]];
    const now = JSON.stringify(facts);
    if (find("facts").dataset.now === now) return;
    find("facts").dataset.now = now;
    find("facts").replaceChildren(...facts.flatMap(([name, value]) =>
      [createElement("dt", {}, name), createElement("dd", {}, value)]));
    selectedAddress = client?.remoteAddress;
  }
  let selectedAddress = "";
  find("detail-done").addEventListener("click", () => go({ client: undefined }));
  find("detail").addEventListener("cancel", (event) => {
    event.preventDefault();
    go({ client: undefined });
  });
  find("detail-close").addEventListener("click", () => ask(query.client, selectedAddress));

  // Closing connections.

  function closer({ id, remoteAddress }) {
    const button = createElement("button", { type: "button", tabindex: "-1", "aria-label": "Close the connection of " + remoteAddress }, "Close");
    button.addEventListener("click", () => ask(id, remoteAddress));
    return button;
  }
  function ask(id, remoteAddress) {
    selectedId = id;
    setText(find("sure-text"), "Close the connection of " + remoteAddress + " with code 1000? The client will not reconnect automatically.");
    find("sure").showModal();
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
    if (query.client !== undefined) params.client = query.client;
    if (room !== undefined) params.room = room;
    try {
      const state = await (await get(params)).json();
      if (number !== last) return;
      if (query.offset > 0 && query.offset >= state.connections.matching) {
        query.offset = Math.max(0, Math.ceil(state.connections.matching / LIMIT) - 1) * LIMIT;
        return refresh();
      }
      show(state);
      document.body.classList.remove("away");
      if (isPaused) setStatus("Paused", "paused");
      else setStatus("Live");
    } catch (error) {
      if (number !== last) return;
      document.body.classList.add("away");
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
    isReadOnly = state.server.readOnly;
    setText(find("label"), state.server.label);
    document.title = (state.server.label || location.host) + ": connections";
    showDetail(state.client);
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
    find("tab-servers").hidden = state.servers.length === 0;
    showServers(state.servers);
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
  document.title = location.host + ": connections";
  readAddress();
  refresh();
})();
`;
