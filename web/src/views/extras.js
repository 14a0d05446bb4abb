// The parts that only some reports have: other class distributions, slices, thresholds, calibration.

import { scaleLinear } from "d3-scale";
import { Frame, chartGrid } from "../chart.js";
import { el, headedSection, svg } from "../dom.js";
import { count, decimal, isNumber } from "../format.js";
import { groupColour } from "../marks.js";
import { OVERALL, groupedName, metricNames } from "../model.js";
import { visible } from "../names.js";
import { meansTable } from "../tables.js";
import { groupCell, groupIndex, meanCell, metricHeading, sectionMetrics } from "./groups.js";

/** Make a table of means with a line for each group. */
function meansByGroup(model, label, groups, metrics, cell, sizes) {
  const heads = ["group", ...(sizes ? ["classes", "undefined"] : []), ...metrics.map(metricHeading)];
  const row = (group) =>
    el(
      "tr",
      { class: group === OVERALL ? "overall" : null },
      groupCell(model, group),
      sizes && [sizes[group]?.num_classes, sizes[group]?.num_undefined].map((n) => el("td", null, count(n))),
      metrics.map((metric) => cell(metric, group)),
    );
  return meansTable(label, heads, el("tbody", null, groups.map(row)));
}

/** The means under other class distributions. */
function shiftsView(model) {
  const { report } = model;
  const shifts = Object.entries(report.shifts ?? {});
  if (!shifts.length) return null;
  const groups = Object.keys(report.groups);
  return section(
    "Other class distributions",
    shifts.map(([name, shift]) => {
      const own = Object.keys(report.metrics).filter((key) => key.startsWith(`${name}/`));
      const means = Object.fromEntries(own.map((key) => [key.slice(name.length + 1), report.metrics[key]]));
      const facts = [
        isNumber(shift.effective_rows) && `${count(shift.effective_rows)} effective rows`,
        isNumber(shift.total_variation) && `distance ${decimal(shift.total_variation)} from the requested distribution`,
        isNumber(shift.left_out) && `share ${decimal(shift.left_out)} left out`,
      ].filter(Boolean);
      return [
        el("h3", null, el("bdi", null, visible(name))),
        meansByGroup(
          model,
          `Means under ${visible(name)}`,
          groups,
          metricNames(means, groups),
          (metric, group) =>
            el(
              "td",
              { "data-name": `${name}/${groupedName(metric, group)}` },
              decimal(means[groupedName(metric, group)]),
            ),
          shift.groups,
        ),
        el("p", { class: "note" }, `${facts.join(", ")}.`),
      ];
    }),
  );
}

/**
 * A slice of the rows, with its means by flat names.
 * @typedef {{partition: string, name: string, num_rows: number, groups: Record<string, any>, metrics: any}} Slice
 */

/** Return the slices of a report, which are stored by partition and name. @returns {Slice[]} */
function slicesOf(report) {
  return Object.entries(report.slices ?? {}).flatMap(([partition, slices]) =>
    Object.entries(slices).map(([name, slice]) => ({ partition, name, ...slice })),
  );
}

/** The means over the rows of slices: a table for each partition, and one for each slice by groups of classes. */
function slicesView(model) {
  const slices = slicesOf(model.report);
  if (!slices.length) return null;
  const partitions = [...new Set(slices.map(({ partition }) => partition))];
  return section(
    "Slices of rows",
    partitions.map((partition) =>
      sliceTables(
        model,
        partition,
        slices.filter((one) => one.partition === partition),
      ),
    ),
  );
}

function sliceTables(model, partition, slices) {
  const groups = Object.keys(slices[0].groups);
  const metrics = metricNames(slices[0].metrics, groups).filter((name) => name !== "SAP_std");
  const heads = ["slice", "rows", "undefined", ...metrics.map(metricHeading)];
  const row = ({ name, num_rows, groups: sizes, metrics: means }) =>
    el(
      "tr",
      null,
      el("th", { scope: "row" }, el("bdi", null, visible(name))),
      el("td", null, count(num_rows)),
      el("td", null, count(sizes[OVERALL].num_undefined)),
      metrics.map((metric) => meanCell(means, metric)),
    );
  const byGroup = ({ name, groups: sizes, metrics: means }) =>
    el(
      "details",
      null,
      el("summary", null, el("bdi", null, visible(name)), " by group of classes"),
      meansByGroup(
        model,
        `Means of ${visible(name)} by group`,
        groups,
        metrics,
        (metric, group) => meanCell(means, metric, group),
        sizes,
      ),
    );
  return [
    el("h3", null, "by ", el("bdi", null, visible(partition))),
    meansTable(`Means by ${visible(partition)}`, heads, el("tbody", null, slices.map(row))),
    groups.length > 1 && el("div", { class: "folded" }, slices.map(byGroup)),
  ];
}

const RULES = {
  f1: "the largest F1",
  fbeta: "the largest F-beta",
  precision: "a precision of at least",
  recall: "a recall of at least",
};

/** Say how thresholds were chosen. */
function thresholdSentence({ by, beta, at_least, min_positives, num_own, num_pooled, num_none }) {
  if (!by) return "The thresholds were given.";
  const limit = isNumber(at_least) ? ` ${at_least}` : isNumber(beta) ? ` (beta ${beta})` : "";
  const parts = [`The thresholds have ${RULES[by] ?? by}${limit} on the set where they were chosen`];
  if (isNumber(num_own)) parts.push(`${count(num_own)} classes have their own`);
  if (num_pooled) {
    parts.push(`${count(num_pooled)} with fewer than ${count(min_positives)} positives share that of their pool`);
  }
  if (num_none) parts.push(`${count(num_none)} have none and are never predicted`);
  return `${parts.join("; ")}.`;
}

/** Precision, recall and F1 at chosen thresholds. */
function thresholdsView(model) {
  const { thresholds } = model.report;
  const metrics = sectionMetrics(thresholds);
  if (!metrics.length) return null;
  return section(
    "At thresholds",
    thresholds.same_set &&
      el("p", null, el("b", null, "Optimistic: "), "the thresholds were chosen on the labels of this report."),
    meansByGroup(model, "Means at thresholds", Object.keys(thresholds.groups), metrics, (metric, group) =>
      el("td", { "data-name": groupedName(metric, group) }, decimal(thresholds.groups[group][metric])),
    ),
    el("p", { class: "note" }, thresholdSentence(thresholds), " O is over all predictions, C the mean over classes."),
  );
}

/** Reliability diagrams: the frequency of positives by mean score, with a bar for the count of each bin. */
function calibrationView(model) {
  const stored = model.report.calibration;
  const groups = Object.entries(stored?.groups ?? {}).filter(([, one]) => Array.isArray(one?.count));
  if (!groups.length) return null;
  const frames = groups.map(([name, one]) => reliabilityChart(model, name, one));
  const metrics = sectionMetrics(stored);
  return section("Calibration", [
    metrics.length > 0 &&
      meansByGroup(
        model,
        "Calibration errors",
        groups.map(([name]) => name),
        metrics,
        (metric, group) => el("td", { "data-name": groupedName(metric, group) }, decimal(stored.groups[group][metric])),
      ),
    el(
      "p",
      { class: "note" },
      "A dot on the diagonal is a bin whose scores are right as probabilities; below it scores are too high.",
      " Bars show how many scores a bin has, on a log axis.",
    ),
    chartGrid(frames, "small"),
  ]);
}

function reliabilityChart(model, name, { count: counts, mean_score: scores, frequency }) {
  const bins = counts.length;
  const total = counts.reduce((sum, n) => sum + (n || 0), 0);
  const at = groupIndex(model, name);
  const most = Math.max(1, ...counts);
  return new Frame({
    title: visible(name),
    summary: `Reliability diagram of ${visible(name)}: ${count(total)} scores in ${bins} bins.`,
    note: `${count(total)} scores.`,
    height: 290,
    margin: { top: 26 },
    draw(frame, area) {
      const x = scaleLinear([0, 1], [area.left, area.right]);
      const y = scaleLinear([0, 1], [area.bottom, area.top]);
      frame.axes(area, { scale: x, label: "mean score" }, { scale: y, label: "frequency of positives" });
      counts.forEach((n, i) => {
        if (!n) return;
        const height = ((area.bottom - area.top) * 0.28 * Math.log10(1 + n)) / Math.log10(1 + most);
        const width = (area.right - area.left) / bins;
        frame.svg.append(
          svg("rect", {
            class: "count-bar",
            x: area.left + i * width + 0.5,
            y: area.bottom - height,
            width: Math.max(1, width - 1),
            height,
          }),
        );
      });
      frame.svg.append(svg("path", { class: "guide", d: `M${x(0)},${y(0)}L${x(1)},${y(1)}` }));
      const points = counts.map((_n, i) => i).filter((i) => isNumber(scores[i]) && isNumber(frequency[i]));
      const drawn = svg("g", null);
      drawn.style.color = `var(${at < 0 ? "--text" : groupColour(at)})`;
      drawn.append(
        svg("path", {
          class: "line own",
          d: points.map((i, k) => `${k ? "L" : "M"}${x(scores[i])},${y(frequency[i])}`).join(""),
        }),
        ...points.map((i) => svg("circle", { cx: x(scores[i]), cy: y(frequency[i]), r: 3.2, fill: "currentColor" })),
      );
      frame.svg.append(drawn);
    },
  });
}

function section(title, ...children) {
  return headedSection(title.toLowerCase().replaceAll(" ", "-"), title, children);
}

/** All extra sections that a report has. @param {import("../model.js").Model} model */
export function extraViews(model) {
  const makers = [thresholdsView, calibrationView, slicesView, shiftsView];
  return makers.map((make) => attempt(() => make(model))).filter(Boolean);
}

/** A section of an unknown form is left out; it does not break the page. */
function attempt(make) {
  try {
    return make();
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}
