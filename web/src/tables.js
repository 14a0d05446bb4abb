// Tables of means, in boxes that scroll sideways.

import { el } from "./dom.js";

/** Make a box that scrolls sideways and that the keyboard can scroll. */
export function scrollBox(label, ...children) {
  return el("div", { class: "scroll", role: "region", "aria-label": label, tabindex: 0 }, children);
}

/**
 * Make a table of means in its box.
 * @param {string} label
 * @param {(string | Node | false | (string | Node)[])[]} heads The columns; one with attributes of its own is an
 *     element.
 * @param {Node | Node[]} bodies
 * @param {string} [classes]
 */
export function meansTable(label, heads, bodies, classes = "means") {
  const isContent = (head) => typeof head === "string" || Array.isArray(head);
  const cells = heads.map((head) => (isContent(head) ? el("th", { scope: "col" }, head) : head));
  return scrollBox(label, el("table", { class: classes }, el("thead", null, el("tr", null, cells)), bodies));
}
