/**
 * The style of the page.
 *
 * @module
 */

/** A style sheet. */
export const STYLE = `
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
#label:not(:empty) { border: 1px solid var(--line); border-radius: 0.35rem; padding: 0 0.5rem; }
#status { margin-left: auto; }
.away .tiles, .away .plots, .away table { opacity: 0.5; }
[role="tablist"] { display: flex; flex-wrap: wrap; gap: 0.25rem 0.5rem; margin-bottom: 0.75rem; }
[role="tab"] { background: none; border: 0; border-bottom: 3px solid transparent; border-radius: 0; }
[role="tab"][aria-selected="true"] { border-color: var(--first); font-weight: 600; }
#adapter { margin: 0 0 0.75rem; overflow-wrap: anywhere; }
#adapter::before { content: "\\25CF  "; color: var(--good); }
#adapter.bad::before { color: var(--bad); }
#status::before { content: "\\25CF  "; color: var(--good); }
#status.bad::before { color: var(--bad); }
#status.paused::before { content: "\\275A\\275A  "; color: var(--quiet); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 0.5rem; margin-bottom: 1rem; padding: 0.75rem 1rem; }
.tiles, .plots { background: none; border: 0; display: grid; gap: 0.75rem; padding: 0; }
.tiles { grid-template-columns: repeat(auto-fit, minmax(7.25rem, 1fr)); margin-top: 0; }
.plots { grid-template-columns: minmax(0, 1fr); }
.tiles div, figure { background: var(--card); border: 1px solid var(--line); border-radius: 0.5rem; margin: 0; padding: 0.6rem 0.8rem; }
dt { color: var(--quiet); font-size: 0.8125rem; }
dd { font-size: 1.25rem; font-variant-numeric: tabular-nums; font-weight: 600; margin: 0; }
figcaption { display: flex; flex-wrap: wrap; font-weight: 600; gap: 0 0.75rem; justify-content: space-between; }
figcaption span { color: var(--quiet); font-size: 0.8125rem; font-weight: 400; }
.chart { display: grid; gap: 0 0.4rem; grid-template-columns: auto minmax(0, 1fr); margin: 0.4rem 0; }
.axis { color: var(--quiet); display: flex; flex-direction: column; font-size: 0.75rem; font-variant-numeric: tabular-nums; justify-content: space-between; line-height: 1; min-width: 3.2rem; text-align: right; white-space: nowrap; }
svg { display: block; height: 6rem; overflow: visible; width: 100%; }
svg .mark { stroke: var(--quiet); stroke-width: 1; }
.at { font-variant-numeric: tabular-nums; }
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
td.path { min-width: 6.5rem; }
td.address { min-width: 9rem; }
td.reason { min-width: 8rem; }
td.id, td.code { font-family: ui-monospace, monospace; font-size: 0.8125rem; }
tr:last-child td { border-bottom: 0; }
.chip { margin: 0 0.3rem 0.2rem 0; max-width: 20rem; overflow-wrap: anywhere; text-align: left; }
.empty, .note { color: var(--quiet); }
.pager { justify-content: flex-end; margin-top: 0.6rem; }
.pager span { font-variant-numeric: tabular-nums; }
.block { margin-bottom: 1rem; }
dialog { background: var(--card); border: 1px solid var(--line); border-radius: 0.5rem; color: inherit; max-width: 30rem; overflow-wrap: anywhere; padding: 1.25rem; }
dialog::backdrop { background: #0008; }
dialog p { margin: 0 0 1rem; }
dialog .actions { display: flex; gap: 0.75rem; justify-content: flex-end; margin-top: 1rem; }
#detail { max-width: 44rem; width: calc(100% - 2rem); }
#facts { display: grid; gap: 0.3rem 1rem; grid-template-columns: max-content minmax(0, 1fr); margin: 0.75rem 0 0; }
#facts dt, #facts dd { font-size: 0.875rem; }
#facts dd { font-weight: 400; overflow-wrap: anywhere; white-space: pre-line; unicode-bidi: isolate; }
.link { border: 0; color: var(--first); min-height: 0; overflow-wrap: anywhere; padding: 0; text-align: left; text-decoration: underline; white-space: normal; }
.danger { border-color: var(--bad); color: var(--bad); }
.hidden { clip-path: inset(50%); height: 1px; overflow: hidden; position: absolute; white-space: nowrap; width: 1px; }
[hidden] { display: none; }
@media (max-width: 56.25rem) {
  body { padding: 0.75rem; }
  #facts { grid-template-columns: minmax(0, 1fr); gap: 0; }
  #facts dd { margin-bottom: 0.4rem; }
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
  td.act button, td .link { min-height: 2.5rem; }
  td.act button { padding: 0.2rem 1rem; }
}
@media (min-width: 56.26rem) { #order { display: none; } }
@media (min-width: 40rem) { .plots { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
@media (min-width: 80rem) { .plots { grid-template-columns: repeat(4, minmax(0, 1fr)); } }
`;
