// The table of all classes of a report.

import { UNDEFINED, count, decimal, interval, isNumber, score } from "../format.js";
import { sketch } from "../sketch.js";
import { classTable, widths } from "./class_table.js";

const SHOWN = new Set([
  "name",
  "group",
  "train_count",
  "AP",
  "expected_SAP",
  "expected_step_SAP",
  "ROC_AUC",
  "threshold",
  "F1",
  "tie_rate",
]);
const HIDDEN_COUNTS = new Set(["num_negatives", "num_positive_clusters"]);

/** Whether a column has counts. */
function isCount(key) {
  return key === "train_count" || key.startsWith("num_");
}

/** Whether the table shows a column at first. */
function isShown(model, key) {
  if (key === "SAP") return !["expected_SAP", "expected_step_SAP"].some((name) => Object.hasOwn(model.classes, name));
  return SHOWN.has(key) || (isCount(key) && !HIDDEN_COUNTS.has(key));
}

/** The headings of columns that the document gives none. */
const HEADINGS = {
  name: "class",
  group: "group",
  train_count: "train",
  num_positives: "positives",
  num_negatives: "negatives",
  num_positive_clusters: "positive clusters",
  expected_SAP: "exact SAP",
  SAP_chance: "chance SAP",
  SAP_std: "std of SAP",
  ROC_AUC: "ROC-AUC",
  tie_rate: "ties",
  AP_tie_lower: "AP, ties worst",
  AP_tie_upper: "AP, ties best",
};

/** The heading of a column of the per-class table. */
export function columnHeading(model, key) {
  const given = model.headings[key];
  // "SAP +- std" is the heading of a cell that has both.
  if (given && given !== key && key !== "SAP") return given;
  return HEADINGS[key] ?? key.replace(/^num_/, "").replaceAll("_", " ");
}

/** Format a value of a column of the per-class table. */
export function columnText(key, value) {
  if (value === null || value === undefined) return UNDEFINED;
  if (typeof value === "string") return value;
  if (typeof value !== "number") return String(value);
  if (key === "threshold") return score(value);
  return isCount(key) ? count(value) : decimal(value);
}

/** The columns of the table, with the two ends of an interval in one. */
function reportColumns(model) {
  const { classes } = model;
  const columns = [];
  for (const [key, values] of Object.entries(classes)) {
    if (key === "class") continue; // the first column of the table
    const base = key.replace(/_(low|high)$/, "");
    if (base !== key && `${base}_low` in classes && `${base}_high` in classes && base in classes) {
      if (!key.endsWith("_low")) continue;
      columns.push({
        key: `${base}_interval`,
        heading: `${columnHeading(model, base)} interval`,
        hint: "sorts by the width of the interval",
        values: widths(values, classes[`${base}_high`]),
        text: (_, c) => interval(values[c], classes[`${base}_high`][c]),
        isHidden: base !== "AP",
      });
      continue;
    }
    columns.push({
      key,
      heading: columnHeading(model, key),
      values,
      text: (value) => columnText(key, value),
      isText: values.some((value) => typeof value === "string"),
      isHidden: !isShown(model, key),
    });
  }
  // AP and its interval come first, beside the sketch of the curve.
  const rank = ({ key }) => ["AP", "AP_interval"].indexOf(key);
  return [...columns.filter((one) => rank(one) >= 0), ...columns.filter((one) => rank(one) < 0)];
}

const FEWEST = 5; // positives of a class with an interval, as in vltr_eval/intervals/one_class.py

/** Say why some classes have no interval; null if no class has too few positives, or the report has no intervals. */
function intervalNote({ classes, report }) {
  const counts = classes[report.num_clusters ? "num_positive_clusters" : "num_positives"];
  if (!classes.AP_low || !counts) return null;
  const few = counts.filter((n, c) => n < FEWEST && !isNumber(classes.AP_low[c])).length;
  if (!few) return null;
  const unit = report.num_clusters ? "clusters with a positive" : "positives";
  return `Classes with fewer than ${FEWEST} ${unit} have no interval: ${count(few)} of ${count(counts.length)}.`;
}

/** @param {import("../model.js").Model} model */
export function reportTable(model, open) {
  const { classes } = model;
  const has = (values) => values?.some((value) => isNumber(value));
  const presets = [
    { name: "worst", key: "AP", descending: false },
    { name: "best", key: "AP", descending: true },
  ];
  if (has(classes.AP_low)) presets.push({ name: "most uncertain", key: "AP_interval", descending: true });
  if (has(classes.tie_rate)) presets.push({ name: "most ties", key: "tie_rate", descending: true });
  const [detail] = model.details;
  return classTable({
    model,
    title: "All classes",
    columns: reportColumns(model),
    presets,
    sketch: detail?.stored.curves ? (c) => sketch([{ curve: detail.curve(c), colour: "--accent" }]) : undefined,
    note: intervalNote(model),
    csv: { class: Array.from({ length: model.numClasses }, (_, c) => c), ...classes },
    fileName: "classes.csv",
    open,
  });
}
