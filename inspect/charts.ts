/**
 * The part of the page's script that draws the plots.
 *
 * @module
 */

/** Statements for the script of `script.ts`, which has the functions that they call. */
export const CHARTS = `  const PLOTS = [
    plot("Connections", count, false, [["connections", "open"]]),
    plot("Messages", (n) => count(n) + "/s", true, [["messagesReceived", "in"], ["messagesSent", "out"]]),
    plot("Bytes", (n) => bytes(n) + "/s", true, [["bytesReceived", "in"], ["bytesSent", "out"]]),
    plot("Connects and ends", (n) => count(n) + "/s", true, [["connects", "connects"], ["ends", "ends"], ["refusals", "refusals"]]),
  ];
  function plot(title, show, isRate, series) {
    const picture = createSvgElement("svg", { viewBox: "0 0 300 100", preserveAspectRatio: "none", role: "img" });
    picture.append(createSvgElement("path", { class: "grid", d: "M0 0H300M0 50H300M0 100H300" }));
    const mark = createSvgElement("path", { class: "mark" });
    picture.append(mark);
    const at = createElement("span", { class: "at" });
    const scale = [1, 0.5, 0].map((part) => ({ part, words: createElement("span") }));
    const from = createElement("span");
    const middle = createElement("span");
    let shown; // what the pointer is told
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
    const axis = createElement("div", { class: "axis", "aria-hidden": "true" }, ...scale.map(({ words }) => words));
    find("plots").append(createElement("figure", {}, createElement("figcaption", {}, title, at),
      createElement("div", { class: "chart" }, axis, picture,
        createElement("span"), createElement("div", { class: "ends", "aria-hidden": "true" }, from, middle, createElement("span", {}, "now"))),
      legend));
    // The values under the pointer, instead of the highest one.
    let pointed;
    function point() {
      const i = pointed === undefined || !shown ? -1 : shown.first + Math.round(pointed * (shown.slices - 1));
      if (!shown || i < 0 || i >= shown.length) {
        mark.setAttribute("d", "");
        return setText(at, shown ? "at most " + show(shown.peak) : "");
      }
      mark.setAttribute("d", "M" + shown.x(i) + " 0V100");
      setText(at, span((shown.length - 1 - i) * shown.every) + " ago: " +
        lines.map(({ label }, s) => label + " " + show(shown.values[s][i])).join(", "));
    }
    picture.addEventListener("pointermove", (event) => {
      const { left, width } = picture.getBoundingClientRect();
      pointed = Math.max(0, Math.min(1, (event.clientX - left) / width));
      point();
    });
    picture.addEventListener("pointerleave", () => {
      pointed = undefined;
      point();
    });
    return ({ history, rates }) => {
      const length = history.connections.length;
      const seconds = isRate ? history.every / 1000 : 1;
      const values = lines.map(({ field }) => history[field].map((n) => n / seconds));
      const peak = Math.max(0, ...values.flat());
      const sliceCount = 150; // slices in the whole width
      const x = (i) => (300 * (sliceCount - length + i + 1) / sliceCount).toFixed(1);
      const y = (n) => (100 - 100 * n / (peak || 1)).toFixed(1);
      lines.forEach(({ field, label, line, words }, s) => {
        line.setAttribute("d", values[s].map((n, i) => (i ? "L" : "M") + x(i) + " " + y(n)).join(""));
        setText(words, label + " " + show(rates[field]));
      });
      for (const { part, words } of scale) setText(words, show(peak * part));
      setText(from, span(sliceCount * history.every) + " ago");
      setText(middle, span(sliceCount * history.every / 2) + " ago");
      shown = { first: length - sliceCount, slices: sliceCount, length, peak, values, x, every: history.every };
      point();
      picture.setAttribute("aria-label", title + " over the last " + span(length * history.every) +
        ": " + lines.map(({ field, label }, s) => label + " " + show(rates[field]) +
        " now, at most " + show(Math.max(0, ...values[s]))).join("; "));
    };
  }
`;
