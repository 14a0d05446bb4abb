// The views of a comparison: one section for each system beside the baseline.

import { scaleLinear } from "d3-scale";
import { select } from "d3-selection";
import { axisBottom } from "d3-axis";
import { Frame, legend } from "../chart.js";
import { el, newId, svg } from "../dom.js";
import { UNDEFINED, count, decimal, isNumber, pValue, signed } from "../format.js";
import { groupColour } from "../marks.js";
import { OVERALL, groupedName, metricNames } from "../model.js";
import { chartNames, visible } from "../names.js";
import { scatter, shortCount } from "../scatter.js";
import { sketch } from "../sketch.js";
import { meansTable, scrollBox } from "../tables.js";
import { classTable, widths } from "./class_table.js";
import { groupCell, groupIndex, intervalMark, metricHeading } from "./groups.js";
import { leftOut } from "./overview.js";
import { systemColour } from "../systems.js";

const LOSS = "--loss";
const GAIN = "--gain";
const UNDECIDED = "--no-group";

/** Return the groups of a comparison in their order, those of its means. */
function groupsOf(model, means) {
  const known = model.doc.group_names ?? [OVERALL, "head", "medium", "tail"];
  const metric = Object.keys(means)[0];
  return known.filter((group) => groupedName(metric, group) in means);
}

/** @param {import("../model.js").Model} model */
export function comparisonViews(model, open) {
  return model.systems.map((system, i) => systemSection(model, system, i, open));
}

function systemSection(model, system, index, open) {
  const { comparison } = model;
  const id = newId("system");
  const runs = (n) => (n > 1 ? ` (${count(n)} runs)` : "");
  const charts = [
    tradeChart(model, system),
    againstChart(model, system, open),
    sortedChart(model, system, open),
    countChart(model, system, open),
  ].filter(Boolean);
  const section = el(
    "section",
    { class: "system", id, "aria-labelledby": `${id}-h` },
    el(
      "h2",
      { id: `${id}-h` },
      el("bdi", null, visible(system.name)),
      runs(system.runs),
      el("span", { class: "minus" }, " minus "),
      el("bdi", null, visible(comparison.base.name)),
      runs(comparison.base.runs),
    ),
    differencesTable(model, system),
    outcomesTable(model, system),
    slicesTables(model, system),
    el(
      "div",
      { class: "grid" },
      charts.map((frame) => frame.figure),
    ),
    systemTable(model, system, index, open),
  );
  return { section, charts };
}

/** The means over the rows of each slice, which are stored by partition and name of the slices. */
function slicesTables(model, system) {
  return Object.entries(model.comparison.slices ?? {}).map(([partition, slices]) => [
    el("h3", null, "by ", el("bdi", null, visible(partition))),
    el(
      "div",
      { class: "folded" },
      Object.entries(slices).map(([name, slice]) =>
        el(
          "details",
          null,
          el("summary", null, el("bdi", null, visible(name)), `, ${count(slice.num_rows)} rows`),
          meansOf(model, `${system.name}: ${name}`, slice.systems[system.name]),
        ),
      ),
    ),
  ]);
}

function differencesTable(model, system) {
  return [
    meansOf(model, system.name, system.means),
    el(
      "p",
      { class: "note" },
      "Differences in bold have a p-value of at most ",
      decimal(1 - model.level).replace(/0+$/, ""),
      ". Detectable is the smallest true difference that the test finds with a probability of 80 %.",
      " Each metric has its own scale of drawn intervals.",
    ),
  ];
}

/** A table with a line for each mean. @param {string} name @param {Record<string, any>} means */
function meansOf(model, name, means) {
  const groups = groupsOf(model, means);
  const metrics = metricNames(means, groups);
  const percent = `${Math.round(model.level * 1e4) / 100} % interval`;
  const hasSeeds = Object.values(means).some((mean) => isNumber(mean.seed_error));
  const heads = ["base", "new", "difference", percent, "p", "detectable"];
  if (hasSeeds) heads.push("error of rows", "error of seeds");
  const body = metrics.map((metric) => {
    const entries = groups.map((group) => [group, means[groupedName(metric, group)]]).filter(([, mean]) => mean);
    const ends = entries.flatMap(([, mean]) => [mean.low, mean.high, mean.difference]).filter(isNumber);
    const reach = Math.max(...ends.map(Math.abs), 1e-9) * 1.08;
    return el(
      "tbody",
      null,
      el("tr", { class: "metric" }, el("th", { scope: "rowgroup", colspan: heads.length + 2 }, metricHeading(metric))),
      entries.map(([group, mean]) =>
        el(
          "tr",
          {
            "data-name": groupedName(metric, group),
            class: isSignificant(mean.p_value, model.level) ? "significant" : null,
          },
          groupCell(model, group),
          el(
            "td",
            { class: "graphic" },
            intervalMark({
              value: mean.difference,
              low: mean.low,
              high: mean.high,
              domain: [-reach, reach],
              colour: group === OVERALL ? "--text" : groupColour(groupIndex(model, group)),
              zero: true,
            }),
          ),
          el("td", null, decimal(mean.base)),
          el("td", null, decimal(mean.new)),
          el("td", { class: "difference" }, signed(mean.difference)),
          el("td", null, isNumber(mean.low) ? `${signed(mean.low)} to ${signed(mean.high)}` : UNDEFINED),
          el("td", null, pValue(mean.p_value)),
          el("td", null, decimal(mean.detectable)),
          hasSeeds && [el("td", null, decimal(mean.row_error)), el("td", null, decimal(mean.seed_error))],
        ),
      ),
    );
  });
  const drawn = el("th", { scope: "col", class: "graphic" }, "difference, drawn");
  return meansTable(`Means of ${visible(name)}`, ["mean", drawn, ...heads], body, "means differences");
}

function isSignificant(p, level) {
  return isNumber(p) && p <= 1 - level;
}

/** The wins and losses of single classes by group, for both adjustments of p-values. */
function outcomesTable(model, system) {
  if (!system.outcomes.length) return null;
  const groups = [...new Set(system.outcomes.map((one) => one.group))];
  const adjustments = [...new Set(system.outcomes.map((one) => one.adjustment))];
  const titles = { holm: "Holm", benjamini_hochberg: "Benjamini-Hochberg" };
  const find = (group, adjustment) =>
    system.outcomes.find((one) => one.group === group && one.adjustment === adjustment);
  return [
    el("h3", null, `${model.comparison.class_metric} of single classes: wins and losses`),
    scrollBox(
      `Wins and losses of ${visible(system.name)}`,
      el(
        "table",
        { class: "means outcomes" },
        el(
          "thead",
          null,
          el(
            "tr",
            null,
            el("td", { colspan: 2 }),
            adjustments.map((one) =>
              el("th", { scope: "colgroup", colspan: 4, class: "adjusted" }, `p adjusted by ${titles[one] ?? one}`),
            ),
          ),
          el(
            "tr",
            null,
            el("th", { scope: "col" }, "group"),
            el("th", { scope: "col" }, "tested"),
            adjustments.map(() => [
              el("th", { scope: "col", class: "graphic" }, "share"),
              ["wins", "losses", "undecided"].map((head) => el("th", { scope: "col" }, head)),
            ]),
          ),
        ),
        el(
          "tbody",
          null,
          groups.map((group) =>
            el(
              "tr",
              { "data-group": group, class: group === OVERALL ? "overall" : null },
              groupCell(model, group),
              el("td", null, count(find(group, adjustments[0]).tested)),
              adjustments.map((adjustment) => {
                const { wins, losses, undecided } = find(group, adjustment);
                return [
                  el(
                    "td",
                    { class: "graphic" },
                    shareBar([
                      [losses, LOSS],
                      [undecided, UNDECIDED],
                      [wins, GAIN],
                    ]),
                  ),
                  [wins, losses, undecided].map((n) => el("td", null, count(n))),
                ];
              }),
            ),
          ),
        ),
      ),
    ),
    legend([
      { name: "losses", colour: LOSS },
      { name: "undecided", colour: UNDECIDED },
      { name: "wins", colour: GAIN },
    ]),
  ];
}

function shareBar(parts) {
  const [width, height] = [130, 12];
  const total = parts.reduce((sum, [n]) => sum + n, 0) || 1;
  const root = svg("svg", { class: "share", width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  let at = 0;
  for (const [n, colour] of parts) {
    const bar = svg("rect", { x: (at / total) * width, y: 0, width: (n / total) * width, height });
    bar.style.fill = `var(${colour})`;
    if (colour === UNDECIDED) bar.classList.add("undecided");
    root.append(bar);
    at += n;
  }
  return root;
}

/** The differences of the group means of the class metric: did the tail gain cost the head? */
function tradeChart(model, system) {
  const groups = groupsOf(model, system.means).filter((group) => group !== OVERALL);
  const metric = Object.keys(system.means)[0];
  const entries = [OVERALL, ...groups].map((group) => ({ group, mean: system.means[groupedName(metric, group)] }));
  const drawn = entries.filter(({ mean }) => isNumber(mean?.difference));
  if (drawn.length < 2) return null;
  const ends = drawn.flatMap(({ mean }) => [mean.low, mean.high, mean.difference, 0]).filter(isNumber);
  const words = drawn.map(({ group, mean }) => `${group} ${signed(mean.difference)}`);
  const row = 34;
  return new Frame({
    title: `Trade between groups: ${metricHeading(metric)}`,
    summary: `Differences of ${metricHeading(metric)} by group: ${words.join(", ")}.`,
    note: "The difference of each group mean with its interval. The line is no difference.",
    height: 66 + row * drawn.length,
    margin: { top: 12, left: 96 },
    draw(frame, area) {
      const spare = (Math.max(...ends) - Math.min(...ends)) * 0.06 || 0.01;
      const x = scaleLinear([Math.min(...ends) - spare, Math.max(...ends) + spare], [area.left, area.right]);
      const axis = axisBottom(x)
        .ticks(Math.max(2, Math.floor((area.right - area.left) / 80)))
        .tickSize(area.top - area.bottom)
        .tickPadding(8)
        .tickFormat((value) =>
          value === 0 ? "0" : value > 0 ? `+${+value.toFixed(6)}` : `\u2212${+(-value).toFixed(6)}`,
        );
      select(frame.svg)
        .append("g")
        .attr("class", "axis")
        .attr("transform", `translate(0,${area.bottom})`)
        .call(axis)
        .select(".domain")
        .remove();
      frame.svg.append(
        svg("path", { class: "guide", d: `M${x(0)},${area.top}V${area.bottom}` }),
        svg(
          "text",
          { class: "label", x: area.right, y: area.bottom + 35, "text-anchor": "end" },
          minusLabel(model, system),
        ),
      );
      drawn.forEach(({ group, mean }, i) => {
        const y = area.top + row * (i + 0.5);
        const mark = svg("g", null);
        mark.style.color = `var(${group === OVERALL ? "--text" : groupColour(groupIndex(model, group))})`;
        if (isNumber(mean.low)) {
          mark.append(svg("path", { class: "whisker wide", d: `M${x(mean.low)},${y}H${x(mean.high)}` }));
        }
        mark.append(svg("circle", { cx: x(mean.difference), cy: y, r: 4.5, fill: "currentColor" }));
        const label = svg(
          "text",
          { class: "row-name", x: area.left - 10, y, dy: "0.35em", "text-anchor": "end" },
          cut(visible(group)),
        );
        frame.svg.append(mark, label);
      });
    },
  });
}

function cut(text) {
  const letters = Array.from(text);
  return letters.length > 13 ? `${letters.slice(0, 12).join("")}\u2026` : text;
}

/** The label of an axis of differences. */
function minusLabel(model, system) {
  const [base, own] = chartNames(model.comparison.base.name, system.name);
  return `${own} minus ${base}`;
}

/** Names and values of a class for the text of a dot. */
function describe(model, { name, classes }, c) {
  const [base, own] = chartNames(model.comparison.base.name, name);
  const lines = [
    [base, decimal(classes.base[c])],
    [own, decimal(classes.new[c])],
    ["difference", signed(classes.difference[c])],
  ];
  if (isNumber(classes.low[c])) lines.push(["interval", `${signed(classes.low[c])} to ${signed(classes.high[c])}`]);
  if (isNumber(classes.benjamini_hochberg[c])) lines.push(["p (BH)", pValue(classes.benjamini_hochberg[c])]);
  if (classes.train_count) lines.push(["train count", count(classes.train_count[c])]);
  if (model.positives) lines.push([model.countName, count(model.positives[c])]);
  return lines;
}

function definedRows(model, values) {
  return Array.from({ length: model.numClasses }, (_, c) => c).filter((c) => isNumber(values[c]));
}

function againstChart(model, system, open) {
  const { classes } = system;
  const metric = model.comparison.class_metric;
  const rows = definedRows(model, classes.difference);
  const above = rows.filter((c) => classes.difference[c] > 0).length;
  const [base, own] = chartNames(model.comparison.base.name, system.name);
  return scatter({
    model,
    title: `${metric} of ${own} against ${base}`,
    summary: [
      `Scatter of ${count(rows.length)} classes: ${metric} of ${own} against ${base};`,
      `${count(above)} classes gained.`,
    ].join(" "),
    note: ["Classes above the diagonal gained.", leftOut(model, rows.length)],
    x: { values: classes.base, label: `${metric} of ${base}`, domain: [0, 1] },
    y: { values: classes.new, label: `${metric} of ${own}`, domain: [0, 1] },
    hasDiagonal: true,
    describe: (c) => describe(model, system, c),
    open,
    height: 360,
  });
}

/** The category of a class: lost, undecided or gained, at the level of the comparison. */
function outcomeOf(model, { classes }) {
  return (c) => {
    if (!isSignificant(classes.benjamini_hochberg[c], model.level)) return 1;
    return classes.difference[c] > 0 ? 2 : 0;
  };
}

function sortedChart(model, system, open) {
  const { classes } = system;
  const rows = definedRows(model, classes.difference).sort(
    (a, b) => classes.difference[b] - classes.difference[a] || a - b,
  );
  const ranks = new Array(model.numClasses).fill(null);
  rows.forEach((c, i) => (ranks[c] = i + 1));
  const frame = scatter({
    model,
    title: "Differences in order",
    summary: `Differences of ${count(rows.length)} classes in descending order with their intervals.`,
    note:
      system.is_tested === false || !rows.some((c) => isNumber(classes.low[c]))
        ? "Single classes are not tested, because predictions of both systems are needed for it."
        : [
            "Each class with its interval, if it has enough positives for a test.",
            " Colours are those of tests with p adjusted by Benjamini-Hochberg.",
          ],
    x: { values: ranks, label: "rank of the class by difference", format: shortCount },
    y: { values: classes.difference, label: minusLabel(model, system) },
    hasZero: true,
    intervals: { low: classes.low, high: classes.high },
    categories: { of: outcomeOf(model, system), colours: [LOSS, UNDECIDED, GAIN] },
    describe: (c) => describe(model, system, c),
    open,
    height: 360,
  });
  frame.note.before(
    legend([
      { name: "gained", colour: GAIN },
      { name: "undecided", colour: UNDECIDED },
      { name: "lost", colour: LOSS },
    ]),
  );
  return frame;
}

function countChart(model, system, open) {
  const { classes } = system;
  const byTraining = Boolean(classes.train_count);
  const x = byTraining ? classes.train_count : model.positives;
  const what = byTraining ? "training count" : `number of ${model.countName}`;
  const rows = definedRows(model, classes.difference).filter((c) => x[c] > 0);
  return scatter({
    model,
    title: `Difference by ${what}`,
    summary: `Scatter of ${count(rows.length)} classes: difference against ${what} on a log axis.`,
    note: leftOut(model, rows.length).trim(),
    x: {
      values: x,
      label: byTraining ? "examples in training" : `${model.countName} in the evaluated set`,
      scale: "log",
      format: shortCount,
    },
    y: { values: classes.difference, label: minusLabel(model, system) },
    hasZero: true,
    hasBands: byTraining,
    describe: (c) => describe(model, system, c),
    open,
    height: 360,
  });
}

function systemTable(model, system, index, open) {
  const { classes } = system;
  const p = (key, heading, isHidden) => ({
    key,
    heading,
    values: classes[key],
    text: (value) => pValue(value),
    isHidden,
  });
  const columns = [];
  if (classes.name) columns.push({ key: "name", heading: "class", values: classes.name, text: String, isText: true });
  columns.push(
    { key: "difference", heading: "difference", values: classes.difference, text: (value) => signed(value) },
    { key: "base", heading: "base", values: classes.base, text: (value) => decimal(value) },
    { key: "new", heading: "new", values: classes.new, text: (value) => decimal(value) },
    {
      key: "interval",
      heading: "interval",
      hint: "sorts by the width of the interval",
      values: widths(classes.low, classes.high),
      text: (_, c) =>
        isNumber(classes.low[c]) ? `${signed(classes.low[c])} to ${signed(classes.high[c])}` : UNDEFINED,
    },
    p("benjamini_hochberg", "p (BH)", false),
    p("holm", "p (Holm)", true),
    p("p_value", "p", true),
  );
  if (classes.group)
    columns.push({ key: "group", heading: "group", values: classes.group, text: (value) => value, isText: true });
  if (classes.train_count) {
    columns.push({ key: "train_count", heading: "train", values: classes.train_count, text: (value) => count(value) });
  }
  columns.push({
    key: "num_positives",
    heading: "positives",
    values: classes.num_positives,
    text: (value) => count(value),
  });
  const [base] = model.details;
  const own = model.detail(system.name) ?? model.details[index + 1];
  const hasCurves = base?.stored.curves || own?.stored.curves;
  return classTable({
    model,
    title: `All classes: ${visible(system.name)}`,
    columns,
    presets: [
      { name: "largest drop", key: "difference", descending: false },
      { name: "largest gain", key: "difference", descending: true },
      { name: "most certain", key: "benjamini_hochberg", descending: false },
    ],
    sketch: hasCurves
      ? (c) =>
          sketch(
            [base, own].map((detail, i) => ({
              curve: detail?.curve(c) ?? null,
              colour: systemColour(model, i === 0 ? 0 : index + 1),
            })),
          )
      : undefined,
    csv: { class: Array.from({ length: model.numClasses }, (_, c) => c), ...classes },
    fileName: `differences-${index + 1}.csv`,
    open,
  });
}
