// The views of all classes of a report: AP by training count, its distribution, SAP by AP.

import { el } from "../dom.js";
import { count, decimal, interval, isNumber, percent } from "../format.js";
import { lineChart } from "../lines.js";
import { groupColour, markElement } from "../marks.js";
import { runningQuartiles } from "../model.js";
import { scatter, shortCount } from "../scatter.js";
import { state, subscribe } from "../state.js";

/** The classes that have a value, as indices. */
function definedClasses(values) {
  return Array.from(values, (_, c) => c).filter((c) => isNumber(values[c]));
}

/** A sentence on the classes that a chart leaves out. */
export function leftOut(model, drawn, why = "without a value") {
  const missing = model.numClasses - drawn;
  return missing ? ` Not drawn: ${count(missing)} of ${count(model.numClasses)} classes, ${why}.` : "";
}

/** Return names and values of a class for the text of a dot. */
function describeClass(model, c) {
  const { classes } = model;
  const lines = [];
  if (classes.AP) lines.push(["AP", decimal(classes.AP[c])]);
  if (classes.AP_low && isNumber(classes.AP_low[c])) {
    lines.push(["interval", interval(classes.AP_low[c], classes.AP_high[c])]);
  }
  if (classes.train_count) lines.push(["train count", count(classes.train_count[c])]);
  if (model.positives) lines.push([model.countName, count(model.positives[c])]);
  if (classes.group) lines.push(["group", classes.group[c]]);
  return lines;
}

/** AP against the training count, or against the number of positives if training counts are not known. */
export function countView(model, open) {
  const { classes } = model;
  const byTraining = Boolean(classes.train_count);
  const x = byTraining ? classes.train_count : model.positives;
  if (!x || !classes.AP) return null;
  const rows = definedClasses(classes.AP).filter((c) => x[c] > 0);
  const quartiles = runningQuartiles(x, classes.AP, rows);
  const what = byTraining ? "training count" : `number of ${model.countName}`;
  const medians = quartiles?.points ?? [];
  const ofMedian = ({ x: at, median }) => `${decimal(median)} at ${count(at)}`;
  const summary = medians.length
    ? ` The running median goes from ${ofMedian(medians[0])} to ${ofMedian(medians.at(-1))}.`
    : "";
  return scatter({
    model,
    title: `AP by ${what}`,
    summary: `Scatter of ${count(rows.length)} classes: AP against ${what} on a log axis.${summary}`,
    note: [
      "Each mark is a class.",
      quartiles && ` The line is the running median of ${quartiles.size} classes, its band the middle half of them.`,
      leftOut(model, rows.length, "without AP or with a count of 0"),
    ],
    x: {
      values: x,
      label: byTraining ? "examples in training" : `${model.countName} in the evaluated set`,
      scale: "log",
      format: shortCount,
    },
    y: { values: classes.AP, label: "AP", domain: [0, 1] },
    hasBands: byTraining,
    median: quartiles?.points ?? null,
    describe: (c) => describeClass(model, c),
    open,
    height: 400,
  });
}

/** SAP against AP, or null for a report without SAP. */
export function sapView(model, open) {
  const { classes } = model;
  const column = ["expected_SAP", "expected_step_SAP", "SAP"].find((name) => Object.hasOwn(classes, name));
  if (!column) return null;
  const values = classes[column];
  const rows = definedClasses(values).filter((c) => isNumber(classes.AP[c]));
  // SAP is often high for all classes; a tenth is the unit of the lower end of its axis.
  const least = rows.reduce((found, c) => Math.min(found, values[c]), 1);
  const lowest = Math.max(0, Math.floor(10 * least - 0.2) / 10);
  const hasDiagonal = lowest < 0.5; // else little of it is in the chart
  return scatter({
    model,
    title: "SAP by AP",
    summary: `Scatter of ${count(rows.length)} classes: sampled AP against AP.`,
    note: [
      "SAP ranks each class against as many negatives as it has positives,",
      " so it does not depend on how rare the class is.",
      hasDiagonal && " On the dashed line both are equal.",
      leftOut(model, rows.length),
    ],
    x: { values: classes.AP, label: "AP", domain: [0, 1] },
    y: { values, label: column === "SAP" ? "SAP" : "exact SAP", domain: [lowest, 1] },
    hasDiagonal,
    describe: (c) => [["SAP", decimal(values[c])], ...describeClass(model, c)],
    open,
    height: 360,
  });
}

/** The share of classes up to each AP, a line for each group. */
export function distributionView(model) {
  const { classes } = model;
  if (!classes.AP) return null;
  const rows = definedClasses(classes.AP);
  const box = el("div", { class: "view" });

  function make() {
    const groups = model.partitions.get(state.partition) ?? [];
    const membership = model.membership(state.partition);
    const sets = groups.length
      ? groups.map((name, group) => ({ name, group, rows: rows.filter((c) => membership[c] === group) }))
      : [{ name: "all classes", group: undefined, rows }];
    const shown = sets.filter((one) => one.rows.length);
    const series = shown.map((one) => ({
      ...cumulative(one.rows.map((c) => classes.AP[c])),
      name: one.name,
      group: one.group,
      colour: groupColour(one.group ?? -1),
      mark: one.group ?? -1,
      isStep: true,
    }));
    for (const one of series) {
      // The marks of the quartiles tell the lines apart without colours.
      one.marked = [0.25, 0.5, 0.75].map((share) => one.ys.findIndex((y) => y >= share));
    }
    const stops = Array.from({ length: 101 }, (_, i) => i / 100);
    const half = shown.map((one) => {
      const below = one.rows.filter((c) => classes.AP[c] <= 0.5).length / one.rows.length;
      return `${one.name} ${percent(below)}`;
    });
    const frame = lineChart({
      title: "Distribution of AP",
      summary: `Cumulative distribution of AP over classes. Classes with AP of at most 0.5: ${half.join(", ")}.`,
      note: `A line that stays low has few classes of low AP.${leftOut(model, rows.length)}`,
      x: { label: "AP", domain: [0, 1] },
      y: { label: "share of classes with at most this AP", domain: [0, 1], format: (y) => `${Math.round(100 * y)} %` },
      series,
      stops,
      only: () => state.group,
      readX: (x) => `AP up to ${x.toFixed(2)}`,
      readY: percent,
      height: 360,
    });
    box.replaceChildren(frame.figure);
    frame.note.before(
      el(
        "ul",
        { class: "legend" },
        shown.map((one) =>
          el("li", null, markElement(one.group ?? -1), el("bdi", null, one.name), ` ${count(one.rows.length)}`),
        ),
      ),
    );
    return frame;
  }

  let frame = make();
  subscribe((changed) => {
    if (changed.has("partition")) {
      frame = make();
      frame.redraw();
    } else if (changed.has("group")) frame.redraw();
  });
  return { figure: box };
}

function cumulative(values) {
  const sorted = Float64Array.from(values).sort();
  const [xs, ys] = [[0], [0]];
  sorted.forEach((value, i) => {
    const y = (i + 1) / sorted.length;
    if (xs.at(-1) === value) ys[ys.length - 1] = y;
    else {
      xs.push(value);
      ys.push(y);
    }
  });
  xs.push(1);
  ys.push(1);
  return { xs, ys };
}
