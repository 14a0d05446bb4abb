// Learning curves of training runs: the loss, and metrics by epoch and group.

import { chartGrid, legend } from "../chart.js";
import { el, headedSection } from "../dom.js";
import { decimal, isNumber } from "../format.js";
import { lineChart } from "../lines.js";
import { groupColour, markElement } from "../marks.js";
import { OVERALL, metricNames } from "../model.js";
import { visible } from "../names.js";
import { groupIndex, metricHeading } from "./groups.js";

const MOST_RUNS = 8; // in one chart with a colour each

const ORDER = ["loss", "lr"];

/** @param {import("../model.js").Model} model */
export function trainingView(model) {
  const { runs } = model.training;
  const columns = [...new Set(runs.flatMap((run) => Object.keys(run.columns)))].filter((name) =>
    runs.some((run) => run.columns[name]?.some(isNumber)),
  );
  const groups = model.doc.group_names ?? [OVERALL, "head", "medium", "tail"];
  const metrics = metricNames(Object.fromEntries(columns.map((name) => [name, 0])), groups);
  metrics.sort((a, b) => rank(a) - rank(b));
  const charts = metrics.flatMap((metric) => {
    const grouped = groups.filter((group) => group !== OVERALL && columns.includes(`${metric}_${group}`));
    if (runs.length === 1) return [chart(metric, byGroup(model, runs[0], metric, grouped))];
    const names = [metric, ...grouped.map((group) => `${metric}_${group}`)];
    return names.map((name) => chart(name, byRun(runs, name)));
  });
  return headedSection("training", "Learning curves", chartGrid(charts, "small"));
}

function rank(name) {
  const at = ORDER.indexOf(name);
  return at < 0 ? (name.includes("mAP") ? ORDER.length : ORDER.length + 1) : at;
}

/** The epochs that have a value of a column; a metric may be measured every few epochs. */
function measured(run, name) {
  const ys = run.columns[name] ?? [];
  const kept = run.epochs.map((_epoch, i) => i).filter((i) => isNumber(ys[i]));
  return { xs: kept.map((i) => run.epochs[i]), ys: kept.map((i) => ys[i]) };
}

/** One run: a line for each group. */
function byGroup(model, run, metric, grouped) {
  return [
    { name: grouped.length ? OVERALL : visible(run.name), colour: "--text", mark: -1, ...measured(run, metric) },
    ...grouped.map((group) => {
      const at = groupIndex(model, group);
      const index = at < 0 ? grouped.indexOf(group) : at;
      return { name: group, colour: groupColour(index), mark: index, ...measured(run, `${metric}_${group}`) };
    }),
  ];
}

/** Several runs: a line for each run. */
function byRun(runs, name) {
  return runs
    .filter((run) => run.columns[name]?.some(isNumber))
    .map((run, i) => ({
      name: visible(run.name),
      colour: i < MOST_RUNS ? `--group-${i}` : "--no-group",
      mark: i,
      ...measured(run, name),
      isThin: runs.length > MOST_RUNS,
    }));
}

function chart(name, series) {
  const values = series.flatMap(({ ys }) => ys);
  const epochs = series.flatMap(({ xs }) => xs);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const isShare = low >= 0 && high <= 1 && name !== "loss" && name !== "lr";
  const spare = (high - low || Math.abs(high) || 1) * 0.06;
  const first = Math.min(...epochs);
  const last = Math.max(...epochs);
  const read = (y) => (Math.abs(y) < 0.001 && y !== 0 ? y.toExponential(2) : decimal(y));
  const ends = series.map(({ name: line, ys }) => `${line} ${read(ys.at(-1))}`);
  const title = metricHeading(name);
  const frame = lineChart({
    title,
    summary: `${title} by epoch, from epoch ${first} to ${last}. Last values: ${ends.join(", ")}.`,
    x: {
      label: "epoch",
      domain: first === last ? [first - 1, last + 1] : [first, last],
      format: (x) => (Number.isInteger(x) ? String(x) : ""),
    },
    y: { label: "", domain: isShare ? [0, Math.min(1, high + spare)] : [low - spare, high + spare] },
    series,
    stops: [...new Set(epochs)].sort((a, b) => a - b),
    readX: (x) => `epoch ${x}`,
    readY: read,
    hasDots: epochs.length / series.length <= 40,
    height: 280,
  });
  if (series.length > 1)
    frame.note.before(
      legend(
        series.map((one) => ({ name: el("bdi", null, one.name), colour: one.colour, mark: markElement(one.mark) })),
      ),
    );
  return frame;
}
