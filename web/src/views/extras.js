// The parts that only some reports have: other class distributions, slices, thresholds, calibration.

import { scaleLinear } from "d3-scale";
import { Frame } from "../chart.js";
import { el, svg } from "../dom.js";
import { count, decimal, isNumber } from "../format.js";
import { groupColour } from "../marks.js";
import { OVERALL, groupedName, metricNames } from "../model.js";
import { visible } from "../names.js";
import { groupCell, groupIndex, isThresholdMetric, meanCell, metricHeading, scrollBox } from "./groups.js";

/** Make a table of means with a line for each group. */
function meansByGroup(model, label, groups, metrics, cell, sizes) {
  const heads = ["group", ...(sizes ? ["classes", "undefined"] : []), ...metrics.map(metricHeading)];
  return scrollBox(
    label,
    el(
      "table",
      { class: "means" },
      el(
        "thead",
        null,
        el(
          "tr",
          null,
          heads.map((head) => el("th", { scope: "col" }, head)),
        ),
      ),
      el(
        "tbody",
        null,
        groups.map((group) =>
          el(
            "tr",
            { class: group === OVERALL ? "overall" : null },
            groupCell(model, group),
            sizes && [sizes[group]?.num_classes, sizes[group]?.num_undefined].map((n) => el("td", null, count(n))),
            metrics.map((metric) => cell(metric, group)),
          ),
        ),
      ),
    ),
  );
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

/** The means over the rows of slices. Slices may be a list or an object by name, with means inside or by flat names. */
function slicesView(model) {
  const stored = model.report.slices;
  if (!stored || typeof stored !== "object") return null;
  const slices = Array.isArray(stored) ? stored : Object.entries(stored).map(([name, one]) => ({ name, ...one }));
  const known = Object.keys(model.report.groups);
  const tables = slices.map((slice) => {
    const means = slice.metrics ?? slice.means ?? groupMeans(slice.groups);
    if (!means) return null;
    const named = slice.groups && !Array.isArray(slice.groups) ? Object.keys(slice.groups) : [];
    const groups = named.length ? named : known;
    const metrics = metricNames(means, groups);
    if (!metrics.length) return null;
    const title = slice.partition ? `${slice.partition}: ${slice.name}` : String(slice.name);
    return [
      el(
        "h3",
        null,
        el("bdi", null, visible(title)),
        isNumber(slice.num_rows) && el("small", null, ` ${count(slice.num_rows)} rows`),
      ),
      meansByGroup(
        model,
        `Means of ${visible(title)}`,
        groups.filter((group) => metrics.some((metric) => groupedName(metric, group) in means)),
        metrics,
        (metric, group) => meanCell(means, groupedName(metric, group)),
        named.length ? slice.groups : undefined,
      ),
    ];
  });
  return tables.some(Boolean) ? section("Slices of rows", tables) : null;
}

/** Flat means of groups that hold their values themselves. */
function groupMeans(groups) {
  const means = {};
  const entries = Array.isArray(groups) ? groups.map((group) => [group.name, group]) : Object.entries(groups ?? {});
  for (const [group, { values }] of entries) {
    for (const [metric, value] of Object.entries(values ?? {})) means[groupedName(metric, group)] = value;
  }
  return Object.keys(means).length ? means : null;
}

/** Precision, recall and F1 at chosen thresholds. */
function thresholdsView(model) {
  const { report } = model;
  if (!report.thresholds) return null;
  const groups = Object.keys(report.groups);
  const metrics = metricNames(report.metrics, groups, Object.keys(report.shifts ?? {})).filter((name) =>
    isThresholdMetric(report, name),
  );
  if (!metrics.length) return null;
  const facts = Object.entries(report.thresholds).filter(([, value]) => ["string", "number"].includes(typeof value));
  return section("At chosen thresholds", [
    meansByGroup(model, "Means at thresholds", groups, metrics, (metric, group) =>
      meanCell(report.metrics, groupedName(metric, group)),
    ),
    facts.length > 0 &&
      el(
        "p",
        { class: "note" },
        facts.map(([key, value]) => `${key.replaceAll("_", " ")}: ${visible(String(value))}`).join("; "),
      ),
  ]);
}

/** Reliability diagrams: the frequency of positives by mean score, with a bar for the count of each bin. */
function calibrationView(model) {
  const stored = model.report.calibration;
  const groups = Object.entries(stored?.groups ?? {}).filter(([, one]) => Array.isArray(one?.count));
  if (!groups.length) return null;
  const frames = groups.map(([name, one]) => reliabilityChart(model, name, one));
  const found = section("Calibration", [
    el(
      "p",
      { class: "note" },
      "A dot on the diagonal is a bin whose scores are right as probabilities; below it scores are too high.",
      " Bars show how many scores a bin has, on a log axis.",
    ),
    el(
      "div",
      { class: "grid small" },
      frames.map((frame) => frame.figure),
    ),
  ]);
  return { ...found, charts: frames };
}

function reliabilityChart(model, name, { count: counts, mean_score: scores, frequency }) {
  const bins = counts.length;
  const total = counts.reduce((sum, n) => sum + (n || 0), 0);
  let error = 0;
  counts.forEach((n, i) => {
    if (isNumber(scores[i]) && isNumber(frequency[i])) error += (n / total) * Math.abs(scores[i] - frequency[i]);
  });
  const distance = `mean distance from the diagonal ${decimal(error)}`;
  const at = groupIndex(model, name);
  const most = Math.max(1, ...counts);
  return new Frame({
    title: visible(name),
    summary: `Reliability diagram of ${visible(name)}: ${count(total)} scores in ${bins} bins, ${distance}.`,
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
  const id = title.toLowerCase().replaceAll(" ", "-");
  return {
    section: el("section", { id, "aria-labelledby": `${id}-h` }, el("h2", { id: `${id}-h` }, title), children),
    charts: [],
  };
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
