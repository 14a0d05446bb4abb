// The marks of groups: a colour and a shape each, so that neither is needed to tell them apart.

import { svg } from "./dom.js";

/** Paths around (0, 0) of a circle, a diamond, a triangle and a square; each has about the area of the circle. */
const SHAPES = [
  (r) => `M${r},0A${r},${r} 0 1 1 ${-r},0A${r},${r} 0 1 1 ${r},0Z`,
  (r) => `M0,${-1.25 * r}L${1.25 * r},0L0,${1.25 * r}L${-1.25 * r},0Z`,
  (r) => `M0,${-1.4 * r}L${1.25 * r},${0.85 * r}H${-1.25 * r}Z`,
  (r) => `M${-0.89 * r},${-0.89 * r}H${0.89 * r}V${0.89 * r}H${-0.89 * r}Z`,
];

const NUM_COLOURS = 8;

/** The colour of a group by its index; -1 is no group. @param {number} index */
export function groupColour(index) {
  return index < 0 ? "--no-group" : `--group-${index % NUM_COLOURS}`;
}

/** Return the path of a group's mark around (0, 0). @param {number} index @param {number} radius */
export function markPath(index, radius) {
  const shape = index < 0 ? 0 : (index + Math.floor(index / NUM_COLOURS)) % SHAPES.length;
  return SHAPES[shape](radius);
}

/** Make the mark of a group for a legend. */
export function markElement(index) {
  const mark = svg("svg", { class: "mark", viewBox: "-7 -7 14 14", width: 12, height: 12, "aria-hidden": "true" });
  mark.append(svg("path", { d: markPath(index, 4.5), fill: "currentColor" }));
  mark.style.color = `var(${groupColour(index)})`;
  return mark;
}
