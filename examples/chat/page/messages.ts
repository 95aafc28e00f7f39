/**
 * The list of messages: first those that the server has broadcast, in its order,
 * then the page's own that have no echo yet, in the order in which they were
 * typed.
 *
 * @module
 */

import type { Said } from "../protocol.ts";
import { find, make } from "./find.ts";

/**
 * - `waiting`: for a connection; it is sent then.
 * - `sending`: on its way to the server and back.
 * - `failed`: refused, or given up before there was an answer.
 * - `sent`: everybody gets it.
 */
export type Delivery = "waiting" | "sending" | "failed" | "sent";

/** How many messages are kept; older ones go. */
const MAX_MESSAGES = 500;

/** Closer to the end than so many pixels, the list follows what comes. */
const NEAR = 80;

/** How many colours there are for the initials. */
const HUES = 6;

const LABELS: Record<Delivery, string> = {
  waiting: "Waiting for the connection",
  sending: "Sending",
  failed: "Perhaps not sent",
  sent: "Sent",
};

const scroller = find("log", HTMLElement);
const list = find("messages", HTMLOListElement);
const nothing = find("nothing", HTMLElement);
const newer = find("newer", HTMLButtonElement);

const timeFormat = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const dayFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });

/** The elements of all messages, by id. */
const items = new Map<string, HTMLLIElement>();
/** The ids of those without an echo. */
const open = new Set<string>();
/** What the last message with an echo was like. */
let lastDay = "";
let lastName = "";
let isAtEnd = true;
/** The frame that scrolls. */
let frame = 0;

/** Whether an own message has no echo yet. */
export function isOpen(id: string): boolean {
  return open.has(id);
}

/**
 * Shows a message that somebody has said, if it is not shown yet. An own message without
 * an echo takes its place among the others.
 */
export function hear({ id, name, text, at }: Said, isOwn: boolean): void {
  const known = items.get(id);
  if (known && !open.has(id)) return;
  const item = known ?? (isOwn ? makeOwn(text) : makeOther(name, text));
  items.set(id, item);
  place(item, id, at, isOwn ? "" : name);
  if (isOwn) label(item, "sent", undefined);
  trim();
  if (!known) follow(isOwn);
  else if (isAtEnd) scrollToEnd();
}

/** Shows an own message at once. */
export function addOpen(id: string, text: string): void {
  const item = makeOwn(text);
  items.set(id, item);
  open.add(id);
  list.append(item);
  follow(true);
}

/** Shows how an own message without an echo fares; with a way to send it again. */
export function mark(id: string, delivery: Delivery, retry?: () => void): void {
  const item = items.get(id);
  if (item === undefined || !open.has(id)) return;
  label(item, delivery, retry);
  if (isAtEnd) scrollToEnd();
}

/** Puts a message after the last one with an echo, under its day. */
function place(
  item: HTMLLIElement,
  id: string,
  at: number,
  name: string,
): void {
  const [first] = open;
  open.delete(id);
  const [next] = open;
  const before = next === undefined ? null : items.get(next) ?? null;
  // Moving an element announces it once more.
  if (first !== id) list.insertBefore(item, before);
  const date = new Date(at);
  const day = dayFormat.format(date);
  if (day !== lastDay) list.insertBefore(make("li", "day", day), item);
  const isSame = name !== "" && name === lastName && day === lastDay;
  item.classList.toggle("follows", isSame);
  lastDay = day;
  lastName = name;
  const time = item.querySelector("time");
  if (time === null) return;
  time.dateTime = date.toISOString();
  time.textContent = timeFormat.format(date);
}

function makeOther(name: string, text: string): HTMLLIElement {
  const item = make("li", "message other");
  const initial = make("span", `initial hue-${hueOf(name)}`, initialOf(name));
  initial.ariaHidden = "true";
  const author = make("p", "author", name);
  author.dir = "auto";
  item.append(initial, author, makeText(text), makeMeta());
  return item;
}

function makeOwn(text: string): HTMLLIElement {
  const item = make("li", "message own");
  const author = make("p", "author hidden", "You");
  const meta = makeMeta();
  meta.prepend(make("span", "delivery"));
  item.append(author, makeText(text), meta);
  return item;
}

function makeText(text: string): HTMLElement {
  const element = make("p", "text", text);
  element.dir = "auto";
  return element;
}

function makeMeta(): HTMLElement {
  const meta = make("p", "meta");
  meta.append(make("time", "time"));
  return meta;
}

/** Says how an own message fares, with a button if there is something to do. */
function label(
  item: HTMLLIElement,
  delivery: Delivery,
  retry: (() => void) | undefined,
): void {
  item.dataset.delivery = delivery;
  const words = item.querySelector(".delivery");
  if (words !== null) words.textContent = LABELS[delivery];
  item.querySelector("button")?.remove();
  if (retry === undefined) return;
  const button = make("button", "small", "Send again");
  button.type = "button";
  button.addEventListener("click", retry);
  item.querySelector(".meta")?.append(button);
}

/** The number of a colour, always the same for the same name. */
function hueOf(name: string): number {
  let hash = 7;
  for (const char of name) {
    hash = (hash * 41 + (char.codePointAt(0) ?? 0)) % 65_521;
  }
  return hash % HUES;
}

function initialOf(name: string): string {
  const [segment] = new Intl.Segmenter().segment(name);
  return (segment?.segment ?? "").toUpperCase();
}

/** Lets go of the oldest messages, and of days without any. */
function trim(): void {
  while (items.size > MAX_MESSAGES) {
    const [oldest] = items;
    if (oldest === undefined || open.has(oldest[0])) return;
    const [id, item] = oldest;
    items.delete(id);
    item.remove();
    const [first, second] = list.children;
    if (first?.className === "day" && second?.className === "day") {
      first.remove();
    }
  }
}

/** Goes on to the end, unless the user reads something else. */
function follow(isWanted: boolean): void {
  nothing.hidden = items.size > 0;
  isAtEnd ||= isWanted;
  if (isAtEnd) scrollToEnd();
  else newer.hidden = false;
}

/** Scrolls once for all that comes in one go: it makes the browser lay all out. */
function scrollToEnd(): void {
  isAtEnd = true;
  newer.hidden = true;
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(() => {
    scroller.scrollTop = scroller.scrollHeight;
  });
}

scroller.addEventListener("scroll", () => {
  const { scrollHeight, scrollTop, clientHeight } = scroller;
  isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR;
  if (isAtEnd) newer.hidden = true;
});
newer.addEventListener("click", () => {
  scrollToEnd();
  scroller.focus();
});
// As when the keyboard of a phone comes up.
new ResizeObserver(() => {
  if (isAtEnd) scrollToEnd();
}).observe(scroller);
