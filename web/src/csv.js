// The per-class table as CSV, with all columns in full precision.

import { el } from "./dom.js";

function cell(value) {
  if (value === null || value === undefined) return "";
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * Write columns of one length as CSV; undefined values are empty.
 * @param {Record<string, ArrayLike<any>>} columns
 */
export function csvText(columns) {
  const names = Object.keys(columns);
  const length = names.length ? columns[names[0]].length : 0;
  const lines = [names.map(cell).join(",")];
  for (let i = 0; i < length; i++) lines.push(names.map((name) => cell(columns[name][i])).join(","));
  return lines.join("\n") + "\n";
}

/** Let the browser save a text as a file. */
export function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  const link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
