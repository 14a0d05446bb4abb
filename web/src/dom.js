// Elements whose texts are text nodes, so data can never become markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * @typedef {Node | string | number | null | undefined | false} Child
 */

function assign(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  append(node, children);
  return node;
}

/**
 * Append children; undefined, null and false are left out.
 * @param {Node} node
 * @param {(Child | Child[])[]} children
 */
export function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.appendChild(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/**
 * Make an HTML element. Attributes that begin with "on" are listeners.
 * @param {string} tag
 * @param {Record<string, any> | null} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {any}
 */
export function el(tag, attributes, ...children) {
  return assign(document.createElement(tag), attributes, children);
}

/** Make an SVG element, as `el` does. @returns {any} */
export function svg(tag, attributes, ...children) {
  return assign(document.createElementNS(SVG, tag), attributes, children);
}

/** Replace the children of a node. */
export function fill(node, ...children) {
  node.replaceChildren();
  append(node, children);
}

/** Make a part of the page, which is named by its heading. @returns {any} */
export function headedSection(id, title, ...children) {
  const heading = `${id}-h`;
  return el("section", { id, "aria-labelledby": heading }, el("h2", { id: heading }, title), children);
}

let count = 0;

/** Return an id that no other element has. @param {string} prefix */
export function newId(prefix) {
  count += 1;
  return `${prefix}-${count}`;
}

let region = null;

/** Make the region from which screen readers read what `say` writes. */
export function liveRegion() {
  region = el("p", { class: "sr-only", role: "status", "aria-live": "polite" });
  return region;
}

/** Let screen readers say a text. @param {string} text */
export function say(text) {
  if (region) region.textContent = text;
}
