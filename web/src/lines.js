// A chart of lines with a common x: hover and arrow keys read all lines at one x.

import { scaleLinear, scaleLog } from "d3-scale";
import { Frame, pointerIn } from "./chart.js";
import { el, say, svg } from "./dom.js";
import { isNumber } from "./format.js";
import { markPath } from "./marks.js";
import { linePath } from "./paths.js";

/**
 * @typedef {object} Series
 * @property {string} name
 * @property {string} colour The name of a colour of page.css.
 * @property {number[]} xs Ascending.
 * @property {(number | null)[]} ys
 * @property {boolean} [isStep] Whether a value holds up to the next x.
 * @property {boolean} [isThin]
 * @property {number} [mark] The index of the mark of its points, see marks.js.
 * @property {number[]} [marked] The indices of the points that have a mark; all of them by default.
 * @property {number} [group] The group that the line belongs to, for the choice of a group.
 */

/**
 * @typedef {object} LineAxis
 * @property {string} label
 * @property {[number, number]} domain
 * @property {"linear" | "log"} [scale]
 * @property {(value: number) => string} [format]
 */

/** Return the value of a series at x, or null. */
function valueAt(series, x) {
  const { xs, ys, isStep } = series;
  let at = -1;
  for (let low = 0, high = xs.length - 1; low <= high;) {
    const middle = (low + high) >> 1;
    if (xs[middle] <= x) {
      at = middle;
      low = middle + 1;
    } else high = middle - 1;
  }
  if (isStep) return at < 0 ? null : ys[at];
  if (at >= 0 && xs[at] === x) return ys[at];
  return null;
}

/**
 * Make a chart of lines.
 * @param {object} options
 * @param {string} options.title
 * @param {string} options.summary
 * @param {any} [options.note]
 * @param {LineAxis} options.x
 * @param {LineAxis} options.y
 * @param {Series[]} options.series
 * @param {number[]} options.stops The x at which the lines are read, ascending.
 * @param {(x: number) => string} options.readX
 * @param {(y: number) => string} options.readY
 * @param {() => number} [options.only] The index of the only group shown, -1 for all.
 * @param {boolean} [options.hasDots]
 * @param {number} [options.height]
 * @param {string} [options.level]
 */
export function lineChart(options) {
  const { series, stops } = options;
  let scaleX = null;
  let current = -1;
  const frame = new Frame({
    title: options.title,
    summary: options.summary,
    note: options.note,
    level: options.level,
    height: options.height ?? 330,
    margin: { top: options.y.label ? 26 : 10 },
    draw,
  });
  const { box } = frame;
  box.tabIndex = 0;
  box.setAttribute("role", "application");
  box.setAttribute("aria-roledescription", "chart of lines");
  box.setAttribute("aria-label", `${options.title}: arrow keys read the lines from left to right`);
  box.classList.add("interactive");

  function draw(_, area) {
    scaleX = (options.x.scale === "log" ? scaleLog : scaleLinear)(options.x.domain, [area.left, area.right]);
    const scaleY = scaleLinear(options.y.domain, [area.bottom, area.top]);
    frame.axes(
      area,
      { scale: scaleX, label: options.x.label, format: options.x.format },
      { scale: scaleY, label: options.y.label, format: options.y.format },
    );
    const only = options.only?.() ?? -1;
    for (const one of series) {
      const points = one.xs.map((x, i) => (isNumber(one.ys[i]) ? [scaleX(x), scaleY(one.ys[i])] : null));
      const isFaint = only >= 0 && one.group !== undefined && one.group !== only;
      const drawn = svg("path", {
        class: `line${one.isThin ? " thin" : ""}${isFaint ? " faint" : ""}`,
        d: linePath(points, one),
      });
      drawn.style.stroke = `var(${one.colour})`;
      frame.svg.append(drawn);
      if (!options.hasDots && !one.marked && one.xs.length > 1) continue;
      for (const i of one.marked ?? points.keys()) {
        if (!points[i]) continue;
        const [x, y] = points[i].map((value) => value.toFixed(2));
        const drawnMark = svg("path", {
          d: markPath(one.mark ?? -1, one.marked ? 4 : 2.6),
          transform: `translate(${x},${y})`,
          class: isFaint ? "faint" : null,
        });
        drawnMark.style.fill = `var(${one.colour})`;
        frame.svg.append(drawnMark);
      }
    }
    frame.svg.append(svg("path", { class: "cursor", d: `M0,${area.top}V${area.bottom}`, visibility: "hidden" }));
    current = -1;
  }

  function show(at, { aloud = false } = {}) {
    current = at;
    const cursor = frame.svg.querySelector(".cursor");
    if (!cursor) return;
    cursor.setAttribute("visibility", at < 0 ? "hidden" : "visible");
    if (at < 0) {
      frame.hideTip();
      return;
    }
    const x = scaleX(stops[at]);
    cursor.setAttribute("transform", `translate(${x},0)`);
    const values = series.map((one) => [one, valueAt(one, stops[at])]).filter(([, value]) => value !== null);
    const list = values.map(([one, value]) => {
      const swatch = el("span", { class: "swatch" });
      swatch.style.color = `var(${one.colour})`;
      return el("div", null, el("dt", null, swatch, one.name), el("dd", null, options.readY(value)));
    });
    frame.showTip(x, frame.height / 2, el("strong", null, options.readX(stops[at])), el("dl", null, list));
    if (aloud) {
      say(`${options.readX(stops[at])}: ${values.map(([one, y]) => `${one.name} ${options.readY(y)}`).join(", ")}`);
    }
  }

  box.addEventListener("pointermove", (event) => {
    if (!stops.length || !scaleX) return;
    const [x] = pointerIn(box, event);
    let best = 0;
    stops.forEach((stop, i) => {
      if (Math.abs(scaleX(stop) - x) < Math.abs(scaleX(stops[best]) - x)) best = i;
    });
    if (best !== current) show(best);
  });
  box.addEventListener("pointerleave", () => show(-1));
  box.addEventListener("blur", () => show(-1));
  box.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity }[event.key];
    if (step !== undefined && stops.length) {
      show(Math.min(Math.max(current < 0 && step < 0 ? 0 : current + step, 0), stops.length - 1), { aloud: true });
      event.preventDefault();
    } else if (event.key === "Escape" && current >= 0) {
      show(-1);
      event.stopPropagation();
    }
  });
  return frame;
}
