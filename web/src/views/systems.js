// The table of a paper: a line for each compared system, a column for each mean, and the best value of each marked.

import { el } from "../dom.js";
import { count, decimal, isNumber } from "../format.js";
import { visible } from "../names.js";
import { meansTable } from "../tables.js";
import { metricHeading } from "./groups.js";

const DAGGER = "\u2020";

/** Whether the table has a mean: mAP of all classes and by group, exact SAP and Acc@k. @param {string} name */
function isShown(name) {
  return name === "mAP" || name === "expected_SAP" || name.startsWith("mAP_") || /^Acc@\d+$/.test(name);
}

/**
 * Return the section of the systems, or null for a comparison of one system with the baseline.
 * @param {import("../model.js").Model} model
 * @param {string[]} sections The ids of the sections of the systems beside the baseline.
 */
export function systemsView(model, sections) {
  const { comparison, systems } = model;
  const means = Object.keys(comparison.best ?? {}).filter(isShown);
  if (systems.length < 2 || !means.length) return null;
  const lines = [
    { name: comparison.base.name, runs: comparison.base.runs, value: (mean) => systems[0].means[mean]?.base },
    ...systems.map((one, i) => ({ ...one, id: sections[i], value: (mean) => one.means[mean]?.new })),
  ];
  const best = new Map(means.map((mean) => [mean, Math.max(...lines.map((one) => one.value(mean)).filter(isNumber))]));
  const used = new Set();

  const cell = (line, mean) => {
    const value = line.value(mean);
    const { p_values: ps, deviations } = comparison.best[mean];
    const isBest = isNumber(value) && value === best.get(mean);
    const isNotWorse = !isBest && isNumber(ps[line.name]) && ps[line.name] > 1 - model.level;
    const spread = isNumber(value) && isNumber(deviations[line.name]) && ` \u00b1 ${decimal(deviations[line.name])}`;
    if (isBest) used.add("best");
    if (isNotWorse) used.add(DAGGER);
    if (spread) used.add("spread");
    const text = [decimal(value), spread];
    return el("td", { "data-name": mean }, isBest ? el("strong", null, text) : text, isNotWorse && DAGGER);
  };
  const row = (line) => {
    const name = el("bdi", { title: visible(line.name) }, visible(line.name));
    return el(
      "tr",
      { "data-system": line.name },
      el(
        "th",
        { scope: "row" },
        line.id ? el("a", { href: `#${line.id}` }, name) : name,
        line.runs > 1 && ` (${count(line.runs)} runs)`,
      ),
      means.map((mean) => cell(line, mean)),
    );
  };
  const body = el("tbody", null, lines.map(row));
  const level = `${Number((100 * model.level).toPrecision(10))} %`;
  const legend = [
    "The first line is the baseline.",
    used.has("best") && " Bold: the highest value of its column.",
    used.has(DAGGER) && [
      ` ${DAGGER}: not significantly lower than the highest value of its column at the level ${level},`,
      " by a paired test of these two systems; p is not adjusted for the number of systems or means.",
    ],
    used.has("spread") && " \u00b1: the standard deviation over the runs of a system.",
  ];
  return el(
    "section",
    { id: "systems", "aria-labelledby": "systems-h" },
    el("h2", { id: "systems-h" }, "Systems"),
    meansTable("Means of all systems", ["system", ...means.map(heading)], body, "means systems"),
    el("p", { class: "note" }, legend),
  );
}

/** The heading of a mean; the name of its group is data. */
function heading(mean) {
  return mean.startsWith("mAP_") ? ["mAP ", el("bdi", null, visible(mean.slice(4)))] : metricHeading(mean);
}
