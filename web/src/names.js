// Class names are data: they are shown whole and cannot change the text around them.

import { el } from "./dom.js";

// Control characters, line separators, and characters that embed or override the direction of a text.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/g;

/**
 * Return a name with a visible sign for each hidden character; a blank name gets words.
 * @param {string} name
 */
export function visible(name) {
  if (!name.trim()) return "(blank name)";
  return name.replace(HIDDEN, (character) => {
    const code = character.charCodeAt(0).toString(16).toUpperCase();
    return `[U+${code.padStart(4, "0")}]`;
  });
}

/**
 * Make an element with a name of either direction. One line by default, with the whole name as its title.
 * @param {string} name
 * @param {{wraps?: boolean}} [options]
 */
export function nameElement(name, { wraps = false } = {}) {
  const text = visible(name);
  return el("bdi", { class: wraps ? "name wraps" : "name", title: wraps ? null : text }, text);
}

const ISOLATE = ["\u2068", "\u2069"]; // the text around the name keeps its direction, as around a bdi element

/**
 * Return two names for the labels of a chart, cut in the middle and isolated; base and new if both would be the same.
 * @param {string} base
 * @param {string} name
 * @returns {[string, string]}
 */
export function chartNames(base, name) {
  const cut = [base, name].map((one) => {
    const letters = Array.from(visible(one));
    if (letters.length <= 20) return letters.join("");
    return `${letters.slice(0, 10).join("")}\u2026${letters.slice(-9).join("")}`;
  });
  const [first, second] = cut[0] === cut[1] ? ["base", "new"] : cut;
  return [ISOLATE.join(first), ISOLATE.join(second)];
}

/** Cut a name for a sentence that screen readers say. @param {string} name */
export function shortName(name) {
  const text = visible(name);
  const letters = Array.from(text);
  return letters.length > 80 ? `${letters.slice(0, 79).join("")}\u2026` : text;
}
