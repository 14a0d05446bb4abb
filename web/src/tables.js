// Tables of means, in boxes that scroll sideways.

import { el } from "./dom.js";

/** Make a box that scrolls sideways and that the keyboard can scroll. */
export function scrollBox(label, ...children) {
  return el("div", { class: "scroll", role: "region", "aria-label": label, tabindex: 0 }, children);
}

/**
 * Make a table of means in its box.
 * @param {string} label
 * @param {(string | Node | false)[]} heads The columns; one with attributes of its own is an element.
 * @param {Node | Node[]} bodies
 * @param {string} [classes]
 */
export function meansTable(label, heads, bodies, classes = "means") {
  const cells = heads.map((head) => (typeof head === "string" ? el("th", { scope: "col" }, head) : head));
  return scrollBox(label, el("table", { class: classes }, el("thead", null, el("tr", null, cells)), bodies));
}
