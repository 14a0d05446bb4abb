// The means of groups with their intervals, as a table.

import { scaleLinear } from "d3-scale";
import { el, headedSection, svg } from "../dom.js";
import { count, decimal, interval, isNumber } from "../format.js";
import { groupColour, markElement } from "../marks.js";
import { OVERALL, groupedName, metricNames } from "../model.js";
import { visible } from "../names.js";
import { meansTable } from "../tables.js";

const REPORT_SCHEMA = "vltr-eval/report/1";

const NAMES = {
  mAP: "mAP",
  SAP: "SAP",
  SAP_std: "std of SAP",
  expected_SAP: "exact SAP",
  expected_step_SAP: "exact SAP (step)",
  step_SAP_chance: "chance SAP (step)",
  SAP_chance: "chance SAP",
  ROC_AUC: "ROC-AUC",
};

/** The heading of a mean by its flat name, with that of a group or without. @param {string} name */
export function metricHeading(name) {
  const metric = Object.keys(NAMES).findLast((known) => name === known || name.startsWith(`${known}_`));
  if (metric === undefined) return name.replaceAll("_", " ");
  return NAMES[name] ?? NAMES[metric] + name.slice(metric.length).replaceAll("_", " ");
}

/** The index of a group's colour: by its place in its partition. */
export function groupIndex(model, group) {
  for (const groups of model.partitions.values()) {
    const at = groups.indexOf(group);
    if (at >= 0) return at;
  }
  return -1;
}

/** Make the cell with the mark and the name of a group. */
export function groupCell(model, group, tag = "th") {
  const at = groupIndex(model, group);
  return el(
    tag,
    tag === "th" ? { scope: "row" } : null,
    group === OVERALL ? null : markElement(at),
    el("bdi", null, visible(group)),
  );
}

/**
 * Draw a mean and its interval on a common scale.
 * @param {{value: number, low: number | null, high: number | null, domain: [number, number], colour: string}} options
 */
export function intervalMark({ value, low, high, domain, colour, zero = false }) {
  const width = 150;
  const x = scaleLinear(domain, [6, width - 6]);
  const root = svg("svg", { class: "interval", width, height: 18, viewBox: `0 0 ${width} 18`, "aria-hidden": "true" });
  root.append(svg("path", { class: "rail", d: `M0,9H${width}` }));
  if (zero) root.append(svg("path", { class: "guide", d: `M${x(0)},0V18` }));
  const drawn = svg("g", null);
  drawn.style.color = `var(${colour})`;
  if (isNumber(low) && isNumber(high)) {
    drawn.append(svg("path", { class: "whisker", d: `M${x(low)},9H${x(high)}M${x(low)},5V13M${x(high)},5V13` }));
  }
  if (isNumber(value)) drawn.append(svg("circle", { cx: x(value), cy: 9, r: 3.6, fill: "currentColor" }));
  root.append(drawn);
  return root;
}

/** @param {import("../model.js").Model} model */
export function groupsView(model) {
  const { report } = model;
  const groups = Object.keys(report.groups);
  const elsewhere = new Set(["SAP_std", ...sectionMetrics(report.thresholds), ...sectionMetrics(report.calibration)]);
  const metrics = metricNames(report.metrics, groups, Object.keys(report.shifts ?? {})).filter(
    (name) => !elsewhere.has(name),
  );
  const values = (metric) => groups.map((group) => groupedName(metric, group));
  const ends = values("mAP").flatMap((name) =>
    ["", "_low", "_high"].map((part) => report.metrics[name + part]).filter(isNumber),
  );
  const domain = [Math.max(0, Math.min(...ends) - 0.02), Math.min(1, Math.max(...ends) + 0.02)];
  const hasMarks = ends.length > 0;
  const isSplit = model.partitions.size > 1;
  const undefinedCell = Object.values(report.groups).some((sizes) => sizes.num_undefined) ? null : { class: "zeros" };
  const rows = groups.flatMap((group) => {
    const sizes = report.groups[group];
    const partition = isSplit ? [...model.partitions].find(([, names]) => names[0] === group)?.[0] : undefined;
    const mean = groupedName("mAP", group);
    const head =
      partition !== undefined &&
      el(
        "tr",
        { class: "metric" },
        el("th", { scope: "colgroup", colspan: metrics.length + 4 }, `by ${visible(partition || "training count")}`),
      );
    const line = el(
      "tr",
      { class: group === OVERALL ? "overall" : null },
      groupCell(model, group),
      el("td", null, count(sizes.num_classes)),
      el("td", undefinedCell, count(sizes.num_undefined)),
      hasMarks &&
        el(
          "td",
          { class: "graphic" },
          intervalMark({
            value: report.metrics[mean],
            low: report.metrics[`${mean}_low`],
            high: report.metrics[`${mean}_high`],
            domain,
            colour: group === OVERALL ? "--text" : groupColour(groupIndex(model, group)),
          }),
        ),
      metrics.map((metric) => meanCell(report.metrics, metric, group)),
    );
    return [head, line];
  });
  const drawn = hasMarks && el("th", { scope: "col", class: "graphic" }, "mAP, drawn");
  const undefinedHead = el("th", { scope: "col", ...undefinedCell }, "undefined");
  const heads = ["group", "classes", undefinedHead, drawn, ...metrics.map(metricHeading)];
  return headedSection(
    "groups",
    "Groups of classes",
    meansTable("Means by group", heads, el("tbody", null, rows)),
    el("p", { class: "note" }, intervalNote(model)),
  );
}

/** Make the cell of a metric's mean over a group, with its interval, or the deviation of SAP's trials, under it. */
export function meanCell(means, metric, group = OVERALL) {
  const name = groupedName(metric, group);
  const spread = metric === "SAP" ? means[groupedName("SAP_std", group)] : undefined;
  const [low, high] = [means[`${name}_low`], means[`${name}_high`]];
  const hasEnds = isNumber(low) && isNumber(high);
  const below = spread === undefined ? hasEnds && interval(low, high) : `\u00b1 ${decimal(spread)}`;
  return el("td", { "data-name": name }, decimal(means[name]), below && el("span", { class: "ends" }, below));
}

function intervalNote(model) {
  const { report, level } = model;
  const zero = report.settings?.absent === "zero";
  const which = zero ? "; absent ones count as 0 in AP and SAP" : " that are defined";
  const over = `Means over the classes of a group${which}`;
  if (level === null) {
    return `${over}.${report.schema === REPORT_SCHEMA ? " The report has no intervals; --ci adds them." : ""}`;
  }
  const units = report.num_clusters ? `${count(report.num_clusters)} clusters of rows` : "rows";
  return [
    `${over}, with ${Math.round(level * 1e4) / 100} % intervals for the expected value on a test set of this size:`,
    ` ${units} vary, training seeds do not.`,
  ];
}

/** The metrics of a section with means of its own: at thresholds, or of calibration. */
export function sectionMetrics(section) {
  const means = section?.groups?.[OVERALL];
  return means ? Object.keys(means).filter((name) => typeof means[name] === "number" || means[name] === null) : [];
}
