// A chart with a dot for each class: hover and arrow keys name the class, click and Enter open it.

import { format } from "d3-format";
import { quadtree } from "d3-quadtree";
import { scaleLinear, scaleLog } from "d3-scale";
import { Frame, colour, pointerIn } from "./chart.js";
import { el, say, svg } from "./dom.js";
import { isNumber } from "./format.js";
import { groupColour, markPath } from "./marks.js";
import { nameElement, shortName } from "./names.js";
import { orderBy } from "./model.js";
import { areaPath, linePath } from "./paths.js";
import { state, subscribe } from "./state.js";

const REACH = 24; // pixels from the pointer to the nearest dot

/**
 * @typedef {object} Axis
 * @property {ArrayLike<number | null>} values One a class.
 * @property {string} label
 * @property {"linear" | "log"} [scale]
 * @property {[number, number]} [domain]
 * @property {(value: number) => string} [format]
 */

/**
 * Make a scatter chart of classes.
 * @param {object} options
 * @param {import("./model.js").Model} options.model
 * @param {string} options.title
 * @param {string} options.summary
 * @param {any} [options.note]
 * @param {Axis} options.x
 * @param {Axis} options.y
 * @param {(c: number) => [string, string][]} options.describe Names and values for the text of a dot.
 * @param {(c: number) => void} options.open
 * @param {boolean} [options.hasDiagonal]
 * @param {boolean} [options.hasZero] Whether to draw a line at y = 0.
 * @param {boolean} [options.hasBands] Whether x is the count that separates the groups.
 * @param {{x: number, low: number, median: number, high: number}[] | null} [options.median]
 * @param {{low: ArrayLike<number | null>, high: ArrayLike<number | null>}} [options.intervals] Vertical intervals.
 * @param {{of: (c: number) => number, colours: string[]}} [options.categories] Colours other than those of groups.
 * @param {number} [options.height]
 */
export function scatter(options) {
  const { model, x, y, describe, open } = options;
  let points = []; // {c, px, py}
  let tree = quadtree();
  let current = -1; // the class with the focus or under the pointer
  const rows = Array.from({ length: model.numClasses }, (_, c) => c).filter(
    (c) => isNumber(x.values[c]) && isNumber(y.values[c]) && (x.scale !== "log" || x.values[c] > 0),
  );
  const isShown = (c) => state.group < 0 || model.membership(state.partition)[c] === state.group;

  const frame = new Frame({
    title: options.title,
    summary: options.summary,
    note: options.note,
    height: options.height ?? 330,
    hasCanvas: true,
    margin: { top: options.hasBands ? 44 : 26 },
    draw,
  });
  const { box } = frame;
  box.tabIndex = 0;
  box.setAttribute("role", "application");
  box.setAttribute("aria-roledescription", "chart of classes");
  box.setAttribute("aria-label", `${options.title}: arrow keys move from class to class, Enter opens one`);
  box.classList.add("interactive");

  function scales(area) {
    const extent = ({ values, domain, scale }) => {
      if (domain) return domain;
      let [low, high] = [Infinity, -Infinity];
      for (const c of rows) {
        low = Math.min(low, values[c]);
        high = Math.max(high, values[c]);
      }
      if (options.intervals && values === y.values) {
        for (const c of rows) {
          if (isNumber(options.intervals.low[c])) low = Math.min(low, options.intervals.low[c]);
          if (isNumber(options.intervals.high[c])) high = Math.max(high, options.intervals.high[c]);
        }
      }
      if (low > high) return scale === "log" ? [1, 10] : [0, 1];
      if (scale === "log") return [low / 1.15, high * 1.15];
      const spare = (high - low || 1) * 0.04;
      return [low - spare, high + spare];
    };
    const make = (axis, range) => (axis.scale === "log" ? scaleLog : scaleLinear)(extent(axis), range);
    return [make(x, [area.left, area.right]), make(y, [area.bottom, area.top])];
  }

  function draw(_, area) {
    const [sx, sy] = scales(area);
    if (options.hasBands) drawBands(area, sx);
    frame.axes(
      area,
      { scale: sx, label: x.label, format: x.format, values: x.scale === "log" ? logTicks(sx, area) : undefined },
      { scale: sy, label: y.label, format: y.format },
    );
    if (options.hasDiagonal) {
      const [low, high] = [Math.max(sx.domain()[0], sy.domain()[0]), Math.min(sx.domain()[1], sy.domain()[1])];
      frame.back.append(svg("path", { class: "guide", d: `M${sx(low)},${sy(low)}L${sx(high)},${sy(high)}` }));
    }
    if (options.hasZero) {
      frame.back.append(svg("path", { class: "guide", d: `M${area.left},${sy(0)}H${area.right}` }));
    }
    drawDots(sx, sy);
    if (options.median) {
      const along = (key) => options.median.map((d) => [sx(d.x), sy(d[key])]);
      const middle = linePath(along("median"));
      frame.svg.append(
        svg("path", { class: "median-band", d: areaPath(along("high"), along("low")) }),
        svg("path", { class: "median-halo", d: middle }),
        svg("path", { class: "median", d: middle }),
      );
    }
    drawRings();
  }

  function drawBands(area, sx) {
    const groups = model.partitions.get("") ?? [];
    const bounds = model.bounds ?? [];
    if (groups.length !== bounds.length + 1) return;
    const [low, high] = sx.domain();
    // Bounds descend, so the first group is the rightmost band.
    const ends = [high, ...bounds.map((bound) => Math.min(Math.max(bound, low), high)), low];
    groups.forEach((group, i) => {
      // Where other groups have the colours, bands have none.
      const hue = `var(${state.partition === "" ? groupColour(i) : "--no-group"})`;
      const [left, right] = [sx(ends[i + 1]), sx(ends[i])];
      if (right - left < 1) return;
      const band = svg("rect", {
        x: left,
        y: area.top,
        width: right - left,
        height: area.bottom - area.top,
        class: "band",
      });
      band.style.fill = hue;
      frame.back.append(band);
      if (right - left < 34) return;
      const label = svg(
        "text",
        { class: "band-name", x: (left + right) / 2, y: area.top - 7, "text-anchor": "middle" },
        group,
      );
      label.style.fill = hue;
      frame.back.append(label);
    });
  }

  function drawDots(sx, sy) {
    const { context } = frame;
    const membership = model.membership(state.partition);
    const categoryOf = options.categories?.of ?? ((c) => membership[c]);
    const colourOf = options.categories ? (i) => options.categories.colours[i] : groupColour;
    points = rows.map((c) => ({ c, px: sx(x.values[c]), py: sy(y.values[c]) }));
    tree = quadtree(
      points.filter(({ c }) => isShown(c)),
      (d) => d.px,
      (d) => d.py,
    );
    const radius = rows.length > 5000 ? 2.1 : rows.length > 400 ? 2.9 : 3.6;
    const paths = new Map();
    const path = (i) => {
      if (!paths.has(i)) paths.set(i, new Path2D(markPath(options.categories ? -1 : i, radius)));
      return paths.get(i);
    };
    const drawOnly = (wanted, alpha) => {
      context.globalAlpha = alpha;
      for (const { c, px, py } of points) {
        if (isShown(c) !== wanted) continue;
        const category = categoryOf(c);
        const fillColour = colour(colourOf(category));
        if (options.intervals && isNumber(options.intervals.low[c])) {
          context.strokeStyle = fillColour;
          context.globalAlpha = alpha * 0.45;
          context.beginPath();
          context.moveTo(px, sy(options.intervals.low[c]));
          context.lineTo(px, sy(options.intervals.high[c]));
          context.stroke();
          context.globalAlpha = alpha;
        }
        context.translate(px, py);
        context.fillStyle = fillColour;
        context.fill(path(category));
        context.translate(-px, -py);
      }
    };
    if (state.group >= 0) drawOnly(false, 0.08);
    drawOnly(true, rows.length > 5000 ? 0.45 : 0.68);
    context.globalAlpha = 1;
  }

  function drawRings() {
    for (const old of frame.svg.querySelectorAll(".ring")) old.remove();
    for (const [c, kind] of [
      [state.selected, "ring chosen"],
      [current, "ring"],
    ]) {
      const point = points.find((one) => one.c === c);
      if (point) frame.svg.append(svg("circle", { class: kind, cx: point.px, cy: point.py, r: 7 }));
    }
  }

  function text(c) {
    const lines = describe(c);
    const name = shortName(model.className(c));
    return `${name}: ${lines.map(([key, value]) => `${key} ${value}`).join(", ")}`;
  }

  function show(c, { aloud = false } = {}) {
    current = c;
    drawRings();
    const point = points.find((one) => one.c === c);
    if (!point) {
      frame.hideTip();
      return;
    }
    frame.showTip(
      point.px,
      point.py,
      el("strong", null, nameElement(model.className(c))),
      el(
        "dl",
        null,
        describe(c).map(([key, value]) => el("div", null, el("dt", null, key), el("dd", null, value))),
      ),
    );
    if (aloud) say(text(c));
  }

  box.addEventListener("pointermove", (event) => {
    const found = tree.find(...pointerIn(box, event), REACH);
    if ((found?.c ?? -1) !== current) show(found?.c ?? -1);
    box.style.cursor = found ? "pointer" : "";
  });
  box.addEventListener("pointerleave", () => show(-1));
  box.addEventListener("click", (event) => {
    const found = tree.find(...pointerIn(box, event), REACH);
    if (found) open(found.c);
  });
  box.addEventListener("blur", () => show(-1));
  box.addEventListener("keydown", (event) => {
    const axis = { ArrowLeft: x, ArrowRight: x, ArrowUp: y, ArrowDown: y, Home: x, End: x }[event.key];
    if (axis) {
      const order = orderBy(axis.values, false, rows.filter(isShown));
      if (!order.length) return;
      const at = order.indexOf(current);
      const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, Home: -Infinity, End: Infinity };
      const step = steps[event.key];
      const next =
        at < 0 ? (step === Infinity ? order.length - 1 : 0) : Math.min(Math.max(at + step, 0), order.length - 1);
      show(order[next], { aloud: true });
    } else if (event.key === "Enter" && current >= 0) {
      open(current);
    } else if (event.key === "Escape" && current >= 0) {
      show(-1);
      event.stopPropagation();
    } else {
      return;
    }
    event.preventDefault();
  });
  subscribe((changed) => {
    if (!box.isConnected || !frame.width) return;
    if (changed.has("group") || changed.has("partition")) frame.redraw();
    else if (changed.has("selected")) drawRings();
  });
  return frame;
}

const short = format("~s");

/** Ticks of a log axis: all of 1, 2, 5 if they fit, else powers of ten. */
function logTicks(scale, area) {
  const [low, high] = scale.domain();
  const values = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const digit of [1, 2, 5]) values.push(digit * 10 ** power);
  }
  const inside = values.filter((value) => value >= low && value <= high);
  const fits = (area.right - area.left) / inside.length >= 38;
  return fits ? inside : inside.filter((value) => Number.isInteger(Math.log10(value)));
}

/** Format a count on an axis: 2k. */
export function shortCount(value) {
  return short(value);
}
