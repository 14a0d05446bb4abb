// The charts of one class: its curves, precision, recall and F1 by threshold, and the histograms of its scores.

import { scaleLinear, scaleLog } from "d3-scale";
import { Frame, legend, pointerIn } from "../chart.js";
import { svg } from "../dom.js";
import { count, decimal, score } from "../format.js";
import { linePath } from "../paths.js";
import { curvePath } from "../sketch.js";

/** F1 of precision and recall. */
export function fOne(precision, recall) {
  return precision + recall > 0 ? (2 * precision * recall) / (precision + recall) : 0;
}

/** The index of the point of a curve with the largest F1. @param {import("../model.js").Curve} curve */
export function bestPoint({ recall, precision }) {
  let best = 0;
  for (let i = 1; i < recall.length; i++) {
    if (fOne(precision[i], recall[i]) > fOne(precision[best], recall[best])) best = i;
  }
  return best;
}

const nearest = (values, x, scale) => {
  let best = 0;
  for (let i = 1; i < values.length; i++) {
    if (Math.abs(scale(values[i]) - x) < Math.abs(scale(values[best]) - x)) best = i;
  }
  return best;
};

/**
 * The precision-recall curves of a class, one for each system.
 * @param {{name: string, curve: import("../model.js").Curve, colour: string}[]} systems
 * @param {{share: number, move: (i: number, system: number) => void}} options
 */
export function curveChart(systems, { share, move }) {
  let scaleX = null;
  const ends = systems.map(({ name, curve: { precision, recall } }) => {
    const point = (i) => `precision ${decimal(precision.at(i))} at recall ${decimal(recall.at(i))}`;
    return `${systems.length > 1 ? `${name}: ` : ""}${point(0)}, ${point(-1)}`;
  });
  const frame = new Frame({
    title: "Precision and recall",
    summary: `Precision-recall curve. ${ends.join("; ")}.`,
    note: `The dotted line is the share of positives, ${decimal(share)}, which is the precision of random scores.`,
    level: "h3",
    height: 250,
    margin: { top: 26 },
    draw(_, area) {
      scaleX = scaleLinear([0, 1], [area.left, area.right]);
      const y = scaleLinear([0, 1], [area.bottom, area.top]);
      frame.axes(area, { scale: scaleX, label: "recall" }, { scale: y, label: "precision" });
      frame.svg.append(svg("path", { class: "chance", d: `M${area.left},${y(share)}H${area.right}` }));
      for (const { curve, colour } of systems) {
        const path = svg("path", { class: "line", d: curvePath(curve, scaleX, y) });
        path.style.stroke = `var(${colour})`;
        frame.svg.append(path);
      }
      const dot = svg("circle", { class: "point", r: 5, visibility: "hidden" });
      frame.svg.append(dot);
      frame.place = (system, i) => {
        const { curve, colour } = systems[system];
        dot.setAttribute("cx", scaleX(curve.recall[i]));
        dot.setAttribute("cy", y(curve.precision[i]));
        dot.setAttribute("visibility", "visible");
        dot.style.fill = `var(${colour})`;
      };
      frame.replace?.();
    },
  });
  if (systems.length > 1) frame.note.before(legend(systems));
  let active = 0;
  frame.box.addEventListener("pointermove", (event) => {
    if (scaleX) move(nearest(systems[active].curve.recall, pointerIn(frame.box, event)[0], scaleX), active);
  });
  return Object.assign(frame, {
    select(system) {
      active = system;
    },
  });
}

const SMALLEST = 1e-300; // nearer to zero the steps between ticks are zero

/** The scale of thresholds: logarithmic if they are positive and span more than three powers of ten. */
function thresholdScale(threshold) {
  const values = Array.from(threshold).filter(Number.isFinite);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const isLog = low > SMALLEST && high / low > 1000;
  const domain = high - low > SMALLEST ? [low, high] : [low - 0.5, high + 0.5];
  return { scale: isLog ? scaleLog().domain([low, high]) : scaleLinear().domain(domain), isLog };
}

/** Precision, recall and F1 of a class by threshold. @param {import("../model.js").Curve} curve */
export function thresholdChart(curve, { move }) {
  const { recall, precision, threshold } = curve;
  const f1 = Float64Array.from(recall, (r, i) => fOne(precision[i], r));
  const best = bestPoint(curve);
  const largest = `The largest F1 of the drawn points is ${decimal(f1[best])}, at threshold ${score(threshold[best])}.`;
  const { scale, isLog } = thresholdScale(threshold);
  const lines = [
    { name: "precision", colour: "--line-a", values: precision },
    { name: "recall", colour: "--line-b", values: recall },
    { name: "F1", colour: "--text", values: f1 },
  ];
  const frame = new Frame({
    title: "By threshold",
    summary: `Precision, recall and F1 by threshold. ${largest}`,
    note: `${largest} A threshold chosen here is chosen on this set.`,
    level: "h3",
    height: 220,
    margin: { top: 8 },
    draw(_, area) {
      scale.range([area.left, area.right]);
      const y = scaleLinear([0, 1], [area.bottom, area.top]);
      frame.axes(
        area,
        {
          scale,
          label: isLog ? "threshold, log axis" : "threshold",
          ticks: isLog ? 4 : undefined,
          format: isLog ? score : undefined,
        },
        { scale: y, label: "" },
      );
      const shown = Array.from(threshold, (_value, i) => i).filter((i) => Number.isFinite(threshold[i]));
      for (const { values, colour } of lines) {
        const points = shown.map((i) => [scale(threshold[i]), y(values[i])]);
        const drawn = svg("path", { class: "line", d: linePath(points, { isStep: true }) });
        drawn.style.stroke = `var(${colour})`;
        frame.svg.append(drawn);
      }
      const cursor = svg("path", { class: "cursor", d: `M0,${area.top}V${area.bottom}`, visibility: "hidden" });
      frame.svg.append(cursor);
      frame.place = (i) => {
        if (!Number.isFinite(threshold[i])) return;
        cursor.setAttribute("visibility", "visible");
        cursor.setAttribute("transform", `translate(${scale(threshold[i])},0)`);
      };
      frame.replace?.();
    },
  });
  frame.note.before(legend(lines));
  frame.box.addEventListener("pointermove", (event) => {
    if (frame.width) move(nearest(threshold, pointerIn(frame.box, event)[0], scale));
  });
  return frame;
}

/** The scores of positives, upwards, and of negatives, downwards, in bins; counts on a log axis. */
export function histogramChart({ low, high, positives, negatives }) {
  const bins = positives.length;
  const width = (high - low) / bins || 1;
  const total = (counts) => counts.reduce((sum, n) => sum + n, 0);
  const most = Math.max(1, ...positives, ...negatives);
  const level = (n) => Math.log10(1 + n);
  const sizes = `${count(total(positives))} positives and ${count(total(negatives))} negatives`;
  const frame = new Frame({
    title: "Scores",
    summary: `Histograms of the scores of ${sizes}, from ${score(low)} to ${score(high)}.`,
    note: "Counts are on a log axis, log(1 + n).",
    level: "h3",
    height: 220,
    margin: { top: 8 },
    draw(_, area) {
      const x = scaleLinear([low, low + bins * width], [area.left, area.right]);
      const y = scaleLinear([-level(most), level(most)], [area.bottom, area.top]);
      const powers = [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7].filter((n) => n <= most && level(n) > 0.2 * level(most));
      const kept = powers.length > 3 ? powers.filter((_n, i) => (powers.length - 1 - i) % 2 === 0) : powers;
      const ticks = [...kept.map((n) => -level(n)).reverse(), 0, ...kept.map(level)];
      frame.axes(
        area,
        { scale: x, label: "score", format: score },
        { scale: y, label: "", values: ticks, format: (value) => count(Math.round(10 ** Math.abs(value) - 1)) },
      );
      for (const [counts, sign, name] of [
        [positives, 1, "positive-bar"],
        [negatives, -1, "negative-bar"],
      ]) {
        let path = "";
        counts.forEach((n, i) => {
          if (!n) return;
          const [left, right, end] = [x(low + i * width), x(low + (i + 1) * width), y(sign * level(n))];
          path += `M${left + 0.4},${y(0)}V${end}H${Math.max(right - 0.4, left + 0.8)}V${y(0)}Z`;
        });
        frame.svg.append(svg("path", { class: name, d: path }));
      }
      frame.svg.append(svg("path", { class: "base", d: `M${area.left},${y(0)}H${area.right}` }));
      const cursor = svg("path", { class: "cursor", d: `M0,${area.top}V${area.bottom}`, visibility: "hidden" });
      frame.svg.append(cursor);
      frame.place = (threshold) => {
        const isInside = threshold >= low && threshold <= high;
        cursor.setAttribute("visibility", isInside ? "visible" : "hidden");
        if (isInside) cursor.setAttribute("transform", `translate(${x(threshold)},0)`);
      };
      frame.replace?.();
    },
  });
  frame.note.before(
    legend([
      { name: `${count(total(positives))} positives, upwards`, colour: "--positive" },
      { name: `${count(total(negatives))} negatives, downwards`, colour: "--negative" },
    ]),
  );
  return frame;
}
