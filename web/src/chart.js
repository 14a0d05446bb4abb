// The frame of every chart: a box with a canvas for dots under an SVG for axes and lines.

import { axisBottom, axisLeft } from "d3-axis";
import { select } from "d3-selection";
import { el, newId, svg } from "./dom.js";

/** All charts of the page, to redraw them at another width or in other colours. @type {Set<Frame>} */
const frames = new Set();

let isPrinting = false;

/** Redraw all charts that are in the document. @param {{printing?: boolean}} [options] */
export function redrawAll({ printing = false } = {}) {
  isPrinting = printing;
  colours.clear();
  forgetDetached();
  for (const frame of frames) if (frame.box.isConnected) frame.redraw();
}

/** Forget the charts that were taken out of the document. */
export function forgetDetached() {
  for (const frame of frames) {
    if (!frame.wasShown || frame.box.isConnected) continue;
    frames.delete(frame);
    resized.unobserve(frame.box);
  }
}

const colours = new Map();
const probe = el("span", { hidden: true });

/** Return the present value of a colour of page.css, such as "--group-0". @param {string} name */
export function colour(name) {
  if (!colours.has(name)) {
    if (!probe.isConnected) document.body.append(probe);
    probe.style.color = `var(${name})`;
    colours.set(name, getComputedStyle(probe).color);
  }
  return colours.get(name);
}

const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const frame = [...frames].find((one) => one.box === target);
    if (frame && target.clientWidth && target.clientWidth !== frame.width) frame.redraw();
  }
});

/**
 * @typedef {object} Area
 * @property {number} width
 * @property {number} height
 * @property {number} left
 * @property {number} right The x of the right end of the plot.
 * @property {number} top
 * @property {number} bottom The y of the lower end of the plot.
 */

export class Frame {
  /**
   * @param {object} options
   * @param {string} options.title
   * @param {string} [options.summary] The text that screen readers say of the chart.
   * @param {any} [options.note] A sentence under the chart.
   * @param {number} [options.height]
   * @param {Partial<{top: number, right: number, bottom: number, left: number}>} [options.margin]
   * @param {boolean} [options.hasCanvas]
   * @param {string} [options.level] The tag of the heading.
   * @param {(frame: Frame, area: Area) => void} options.draw
   */
  constructor({ title, summary = "", note, height = 300, margin = {}, hasCanvas = false, level = "h3", draw }) {
    this.height = height;
    this.margin = { top: 10, right: 14, bottom: 42, left: 50, ...margin };
    this.draw = draw;
    this.width = 0;
    this.wasShown = false;
    this.canvas = hasCanvas ? el("canvas", { "aria-hidden": "true" }) : null;
    this.svg = svg("svg", { role: "img", "aria-label": summary || title, focusable: "false" });
    // Grid lines and bands are under the dots of the canvas, which all else covers.
    this.back = hasCanvas ? svg("svg", { class: "back", "aria-hidden": "true" }) : this.svg;
    this.tip = el("div", { class: "tip", "aria-hidden": "true", hidden: true });
    this.box = el("div", { class: "plot" }, hasCanvas && this.back, this.canvas, this.svg, this.tip);
    const id = newId("chart");
    this.heading = el(level, { id }, title);
    this.note = el("p", { class: "note" }, note);
    this.figure = el(
      "figure",
      { class: "chart", "aria-labelledby": id },
      el("figcaption", null, this.heading),
      this.box,
      this.note,
    );
    frames.add(this);
    resized.observe(this.box);
  }

  /** The text that screen readers say of the chart. @param {string} text */
  set summary(text) {
    this.svg.setAttribute("aria-label", text);
  }

  redraw() {
    const width = this.box.clientWidth;
    if (!width) return;
    this.width = width;
    this.wasShown = true;
    const { height, margin } = this;
    for (const layer of new Set([this.back, this.svg])) {
      layer.setAttribute("viewBox", `0 0 ${width} ${height}`);
      layer.setAttribute("width", width);
      layer.setAttribute("height", height);
      layer.replaceChildren();
    }
    if (this.canvas) {
      const ratio = isPrinting ? 4 : Math.max(2, Math.ceil(devicePixelRatio));
      this.canvas.width = width * ratio;
      this.canvas.height = height * ratio;
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${height}px`;
      this.context = this.canvas.getContext("2d");
      this.context.scale(ratio, ratio);
    }
    this.hideTip();
    this.draw(this, {
      width,
      height,
      left: margin.left,
      right: width - margin.right,
      top: margin.top,
      bottom: height - margin.bottom,
    });
  }

  /**
   * Draw axes with grid lines and their names.
   * @param {Area} area
   * @param {{scale: any, label: string, format?: (value: any) => string, ticks?: number, values?: any[]}} x
   * @param {{scale: any, label: string, format?: (value: any) => string, ticks?: number, values?: any[]}} y
   */
  axes(area, x, y) {
    const root = select(this.back);
    const numTicks = (one, length, pixels) => one.ticks ?? Math.max(2, Math.min(8, Math.floor(length / pixels)));
    const bottom = axisBottom(x.scale)
      .ticks(numTicks(x, area.right - area.left, 70))
      .tickSize(area.top - area.bottom)
      .tickPadding(8);
    const left = axisLeft(y.scale)
      .ticks(numTicks(y, area.bottom - area.top, 42))
      .tickSize(area.left - area.right)
      .tickPadding(8);
    for (const [axis, one] of [
      [bottom, x],
      [left, y],
    ]) {
      if (one.values) axis.tickValues(one.values);
      if (one.format) axis.tickFormat(one.format);
    }
    const draw = (axis, move) =>
      root.append("g").attr("class", "axis").attr("aria-hidden", "true").attr("transform", move).call(axis);
    draw(bottom, `translate(0,${area.bottom})`);
    draw(left, `translate(${area.left},0)`);
    root.selectAll(".axis .domain").remove();
    this.back.append(
      svg("path", { class: "base", d: `M${area.left},${area.bottom}H${area.right}` }),
      svg("text", { class: "label", x: area.right, y: area.bottom + 35, "text-anchor": "end" }, x.label),
      svg("text", { class: "label", x: 2, y: 13 }, y.label),
    );
  }

  /** Show a text beside a point of the plot. */
  showTip(x, y, ...children) {
    this.tip.replaceChildren(...children);
    this.tip.hidden = false;
    const { offsetWidth, offsetHeight } = this.tip;
    const left = x + 14 + offsetWidth > this.width ? x - 14 - offsetWidth : x + 14;
    const top = Math.min(Math.max(y - offsetHeight / 2, 0), this.height - offsetHeight);
    this.tip.style.transform = `translate(${Math.max(0, Math.round(left))}px,${Math.round(top)}px)`;
  }

  hideTip() {
    this.tip.hidden = true;
  }
}

/** Return the position of a pointer event in the box of a chart. */
export function pointerIn(box, event) {
  const { left, top } = box.getBoundingClientRect();
  return [event.clientX - left - box.clientLeft, event.clientY - top - box.clientTop];
}

/** Make a legend of colours. @param {{name: any, colour: string, mark?: any}[]} entries */
export function legend(entries) {
  return el(
    "ul",
    { class: "legend" },
    entries.map(({ name, colour: variable, mark }) => {
      const key = mark ?? el("span", { class: "swatch", "aria-hidden": "true" });
      key.style.color = `var(${variable})`;
      return el("li", null, key, name);
    }),
  );
}

/** Make a grid of charts. @param {{figure: HTMLElement}[]} charts @param {string} [size] */
export function chartGrid(charts, size) {
  return el(
    "div",
    { class: size ? `grid ${size}` : "grid" },
    charts.map(({ figure }) => figure),
  );
}
