// Numbers as text. Numbers have four decimals, as in the text tables of the program.

import { format } from "d3-format";

/** The text of an undefined value. */
export const UNDEFINED = "\u2013";

const thousands = format(",");

/** Whether a value of the document is a number; null is an undefined one. @param {any} value */
export function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

/**
 * Format a number with four decimals as Python does: a tie goes to the even digit.
 * @param {number | null | undefined} value
 */
export function decimal(value) {
  if (!isNumber(value)) return UNDEFINED;
  const exact = value * 20000;
  // Only multiples of 1/32 can lie exactly between two numbers of four decimals.
  if (Number.isInteger(value * 32) && Math.abs(exact % 2) === 1) {
    const lower = Math.floor(exact / 2);
    value = (lower % 2 === 0 ? lower : lower + 1) / 10000;
  }
  return minus(value.toFixed(4));
}

/** Format a difference with its sign. @param {number | null | undefined} value */
export function signed(value) {
  if (!isNumber(value)) return UNDEFINED;
  const text = decimal(value);
  if (!text.startsWith("\u2212")) return `+${text}`;
  return Number(text.slice(1)) === 0 ? `+${text.slice(1)}` : text;
}

/** Format a count with separators of thousands. @param {number | null | undefined} value */
export function count(value) {
  return isNumber(value) ? minus(Number.isInteger(value) ? thousands(value) : format(",.4~f")(value)) : UNDEFINED;
}

/** Format a p-value: below 0.0001 it would be 0.0000. @param {number | null | undefined} value */
export function pValue(value) {
  return isNumber(value) && value < 0.0001 ? "<0.0001" : decimal(value);
}

/** Format a share as percent. @param {number} value */
export function percent(value) {
  return `${format(".1~f")(100 * value)} %`;
}

/** Format a small share as percent with two decimals. @param {number} value */
export function share(value) {
  return `${(100 * value).toFixed(2)} %`;
}

/** Format an interval: "0.1377\u20130.3719", or "\u22120.0115 to +0.0065" with signs. */
export function interval(low, high, one = decimal) {
  if (!isNumber(low) || !isNumber(high)) return UNDEFINED;
  return low < 0 || one !== decimal ? `${one(low)} to ${one(high)}` : `${one(low)}\u2013${one(high)}`;
}

/** Format a score with up to six significant digits. @param {number} value */
export function score(value) {
  if (!isNumber(value)) return UNDEFINED;
  const size = Math.abs(value);
  return minus(size !== 0 && (size < 1e-4 || size >= 1e6) ? format(".4~e")(value) : format(".6~r")(value));
}

function minus(text) {
  return text.startsWith("-") ? `\u2212${text.slice(1)}` : text; // d3-format writes the minus sign by itself
}
