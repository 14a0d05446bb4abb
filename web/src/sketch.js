// A small precision-recall curve for a row of the table.

import { svg } from "./dom.js";

const [WIDTH, HEIGHT] = [64, 22];

/**
 * Return the path of a step-wise curve: precision at a threshold holds for the recall that it adds.
 * @param {import("./model.js").Curve} curve
 * @param {(recall: number) => number} x
 * @param {(precision: number) => number} y
 */
export function curvePath({ recall, precision }, x, y) {
  let path = `M${x(0).toFixed(1)},${y(precision[0]).toFixed(1)}`;
  for (let i = 0; i < recall.length; i++) path += `V${y(precision[i]).toFixed(1)}H${x(recall[i]).toFixed(1)}`;
  return path;
}

/**
 * Draw the sketches of curves into one cell.
 * @param {{curve: import("./model.js").Curve | null, colour: string}[]} curves
 */
export function sketch(curves) {
  const root = svg("svg", {
    class: "sketch",
    width: WIDTH,
    height: HEIGHT,
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    "aria-hidden": "true",
  });
  root.append(svg("path", { class: "rail", d: `M.5,.5V${HEIGHT - 0.5}H${WIDTH}` }));
  const x = (recall) => 1 + recall * (WIDTH - 2);
  const y = (precision) => HEIGHT - 1 - precision * (HEIGHT - 2);
  for (const { curve, colour } of curves) {
    if (!curve) continue;
    const line = curvePath(curve, x, y);
    const fillPath = svg("path", { class: "under", d: `${line}V${HEIGHT - 1}H${x(0)}Z` });
    const stroke = svg("path", { class: "curve", d: line });
    for (const one of [fillPath, stroke]) one.style.color = `var(${colour})`;
    root.append(fillPath, stroke);
  }
  return root;
}
