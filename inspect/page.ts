/**
 * The page: one HTML document with its style and script. The script fetches the data
 * relative to the URL of the page, and shows it only as text.
 *
 * @module
 */

import { SCRIPT } from "./script.ts";
import { STYLE } from "./style.ts";

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

const BODY = `<body>
<header>
  <h1>Connections</h1>
  <span id="label"></span>
  <span id="host"></span>
  <span id="status" role="status">Loading</span>
  <button id="pause" type="button" aria-pressed="false">Pause</button>
</header>
<main>
<noscript><p>This page needs JavaScript.</p></noscript>
<p id="adapter" role="status" hidden></p>
<dl class="tiles block" id="tiles"></dl>
<div class="plots block" id="plots"></div>
<div role="tablist" aria-label="Lists">
  <button type="button" role="tab" id="tab-list" aria-controls="panel-list">Connections</button>
  <button type="button" role="tab" id="tab-rooms" aria-controls="panel-rooms">Rooms</button>
  <button type="button" role="tab" id="tab-servers" aria-controls="panel-servers" hidden>Servers</button>
  <button type="button" role="tab" id="tab-ends" aria-controls="panel-ends">Recent ends</button>
  <button type="button" role="tab" id="tab-refusals" aria-controls="panel-refusals">Recent refusals</button>
</div>
<section id="panel-list" role="tabpanel" aria-labelledby="tab-list" hidden>
  <div class="bar">
    <form id="filter" role="search">
      <button type="button" class="chip" id="room" hidden></button>
      <label class="hidden" for="search">Search connections</label>
      <input id="search" type="search" maxlength="200" autocomplete="off" placeholder="Id, address, path, room">
      <span id="order"><label class="hidden" for="sort">Sort by</label><select id="sort"></select></span>
    </form>
  </div>
  <table role="grid" aria-labelledby="tab-list"><thead role="rowgroup"></thead><tbody id="list" role="rowgroup"></tbody></table>
  <p class="empty" id="list-empty" hidden>No connections.</p>
  <div class="pager">
    <span id="range"></span>
    <button id="before" type="button">Previous</button>
    <button id="after" type="button">Next</button>
  </div>
</section>
<section id="panel-rooms" role="tabpanel" aria-labelledby="tab-rooms" hidden>
  <p class="note" id="rooms-note"></p>
  <table role="grid" aria-labelledby="tab-rooms"><thead role="rowgroup"></thead><tbody id="rooms" role="rowgroup"></tbody></table>
  <p class="empty" id="rooms-empty" hidden>No rooms.</p>
</section>
<section id="panel-servers" role="tabpanel" aria-labelledby="tab-servers" hidden>
  <table role="table" aria-labelledby="tab-servers"><thead role="rowgroup"></thead><tbody id="servers" role="rowgroup"></tbody></table>
  <p class="empty" id="servers-empty" hidden>There is no adapter.</p>
</section>
<section id="panel-ends" role="tabpanel" aria-labelledby="tab-ends" hidden>
  <table role="table" aria-labelledby="tab-ends"><thead role="rowgroup"></thead><tbody id="ends" role="rowgroup"></tbody></table>
  <p class="empty" id="ends-empty" hidden>None yet.</p>
</section>
<section id="panel-refusals" role="tabpanel" aria-labelledby="tab-refusals" hidden>
  <table role="table" aria-labelledby="tab-refusals"><thead role="rowgroup"></thead><tbody id="refusals" role="rowgroup"></tbody></table>
  <p class="empty" id="refusals-empty" hidden>None yet.</p>
</section>
</main>
<dialog id="detail" aria-labelledby="detail-title">
  <h2 id="detail-title">Connection</h2>
  <dl id="facts"></dl>
  <div class="actions">
    <button type="button" id="detail-close" class="danger">Close connection…</button>
    <button type="button" id="detail-done">Done</button>
  </div>
</dialog>
<dialog id="sure" aria-labelledby="sure-text">
  <p id="sure-text" aria-live="polite"></p>
  <div class="actions">
    <button type="button" id="sure-no">Cancel</button>
    <button type="button" id="sure-yes" class="danger">Close connection</button>
  </div>
</dialog>
</body>`;
