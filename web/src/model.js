// The document as the views read it.

import { decodeAll, decodeRange } from "./decode.js";
import { isNumber } from "./format.js";

export const OVERALL = "overall";

/**
 * The curve of one class: points in the order of descending thresholds.
 * @typedef {{recall: Float64Array, precision: Float64Array, threshold: ArrayLike<number>}} Curve
 */

/** The stored details of one system: curves, histograms and mistakes. */
class Details {
  constructor(stored) {
    this.name = stored.name;
    this.stored = stored;
    this.indptr = null;
  }

  /** Return the curve of a class, or null. @returns {Curve | null} */
  curve(c) {
    const curves = this.stored.curves;
    if (!curves) return null;
    this.indptr ??= decodeAll(curves.indptr, "i4");
    const [begin, end] = [this.indptr[c], this.indptr[c + 1]];
    if (end === begin) return null;
    const share = (text) => Float64Array.from(decodeRange(text, "u2", begin, end), (q) => q / 65535);
    return {
      recall: share(curves.recall),
      precision: share(curves.precision),
      threshold: decodeRange(curves.threshold, curves.dtype, begin, end),
    };
  }

  /** Return the score histograms of a class, or null. */
  histogram(c) {
    const stored = this.stored.histograms;
    if (!stored) return null;
    const [begin, end] = [c * stored.bins, (c + 1) * stored.bins];
    const [low] = decodeRange(stored.low, "f4", c, c + 1);
    const [high] = decodeRange(stored.high, "f4", c, c + 1);
    if (!Number.isFinite(low) || !Number.isFinite(high)) return null;
    const counts = (text) => decodeRange(text, "u4", begin, end);
    return { low, high, positives: counts(stored.positives), negatives: counts(stored.negatives) };
  }

  /** Return the rows that a class gets most wrong, or null. @returns {{missed: Mistake[], false: Mistake[]} | null} */
  mistakes(c) {
    const stored = this.stored.mistakes;
    if (!stored) return null;
    const [begin, end] = [c * stored.limit, (c + 1) * stored.limit];
    const list = ({ rows, scores }) => {
      const values = decodeRange(scores, "f4", begin, end);
      return Array.from(decodeRange(rows, "i4", begin, end), (row, i) => ({ row, score: values[i] })).filter(
        ({ row }) => row >= 0,
      );
    };
    return { missed: list(stored.missed), false: list(stored.false) };
  }
}

/**
 * A row among the mistakes of a class.
 * @typedef {{row: number, score: number}} Mistake
 */

export class Model {
  /** @param {any} doc The document of the page. */
  constructor(doc) {
    this.doc = doc;
    this.kind = doc.kind;
    this.title = doc.title;
    this.report = doc.report ?? null;
    this.comparison = doc.comparison ?? null;
    this.training = doc.training ?? null;
    this.headings = doc.headings ?? {};
    this.ids = doc.ids ?? null;
    this.details = (doc.details ?? []).map((stored) => new Details(stored));
    this.systems = Object.entries(this.comparison?.systems ?? {}).map(([name, system]) => ({ name, ...system }));
    /** Columns of what is known of the classes, whatever the kind of the page. */
    this.classes = this.report?.classes ?? this.systems[0]?.classes ?? {};
    this.numClasses = Object.values(this.classes)[0]?.length ?? 0;
    this.names = this.classes.name ?? null;
    this.bounds = this.report?.settings?.bounds ?? boundsOf(this.comparison?.signature);
    const key = this._countKey();
    this.positives = key === undefined ? null : this.classes[key];
    /** The word for them. */
    this.countName = this.headings[key] ?? "positives";
    this.level = this.report?.settings?.interval ?? this.comparison?.level ?? null;
    this.partitions = this._partitions();
    this._memberships = new Map();
  }

  /** @param {number} c */
  className(c) {
    return this.names ? this.names[c] : `class ${this.classId(c)}`;
  }

  /** Return the detail of a system by its name. @returns {Details | null} */
  detail(name) {
    return this.details.find((detail) => detail.name === name) ?? null;
  }

  /** The id of a row if ids are known, else its number. @param {number} row */
  rowName(row) {
    return this.ids?.[row] ?? `row ${row}`;
  }

  /** The index of each class's group in a partition; -1 for a class in none. */
  membership(partition) {
    if (!this._memberships.has(partition)) this._memberships.set(partition, this._membership(partition));
    return this._memberships.get(partition);
  }

  /** The column by which a class is absent: the number of positives, or what other reports count. */
  _countKey() {
    const { classes } = this;
    const known = new Set(["class", "name", "group", "train_count"]);
    const isCount = (key) => !known.has(key) && classes[key].every(Number.isInteger);
    return Object.hasOwn(classes, "num_positives") ? "num_positives" : Object.keys(classes).find(isCount);
  }

  /** The id of a class: its index, if the report has no others. @param {number} c */
  classId(c) {
    return this.classes.class?.[c] ?? c;
  }

  _partitions() {
    const given = Object.entries(this.doc.partitions ?? {}).filter(([, groups]) => groups.length);
    const known = given.filter(([partition]) => this._groupColumn(partition));
    return new Map(known);
  }

  _groupColumn(partition) {
    const names = partition === "" ? ["group"] : [`group:${partition}`, partition];
    const name = names.find((one) => Object.hasOwn(this.classes, one));
    return name === undefined ? undefined : this.classes[name];
  }

  _membership(partition) {
    const groups = this.partitions.get(partition) ?? [];
    const index = new Map();
    // A column has the plain name of a group or the flat one, "partition:group".
    groups.forEach((group, i) => {
      index.set(group, i);
      if (group.startsWith(`${partition}:`)) index.set(group.slice(partition.length + 1), i);
    });
    const column = this._groupColumn(partition) ?? [];
    return Int16Array.from({ length: this.numClasses }, (_, c) => index.get(column[c]) ?? -1);
  }
}

/** Read the bounds of the groups by training counts from a signature. @param {string | undefined} signature */
function boundsOf(signature) {
  const found = /\|groups:train((?:,?>\d[\d.]*(?:e\+?\d+)?)+)/.exec(signature ?? "");
  return found ? found[1].split(",").map((part) => Number(part.slice(1))) : null;
}

const INTERVAL_PARTS = ["_se", "_low", "_high"];

/**
 * Return the names of the metrics that a set of means by flat names has, those under other distributions left out.
 * @param {Record<string, any>} means
 * @param {string[]} groups
 * @param {string[]} [priors]
 */
export function metricNames(means, groups, priors = []) {
  const own = groups.filter((group) => group !== OVERALL);
  const isPart = (name) =>
    INTERVAL_PARTS.some((part) => name.endsWith(part) && Object.hasOwn(means, name.slice(0, -part.length)));
  const isOfGroup = (name) =>
    own.some((group) => name.endsWith(`_${group}`) && Object.hasOwn(means, name.slice(0, -group.length - 1)));
  return Object.keys(means).filter(
    (name) => !isPart(name) && !isOfGroup(name) && !priors.some((prior) => name.startsWith(`${prior}/`)),
  );
}

/** Return the flat name of a metric's mean over a group. */
export function groupedName(metric, group) {
  return group === OVERALL ? metric : `${metric}_${group}`;
}

/**
 * Return the order of classes by values: undefined values last, equal values in the order of classes.
 * @param {ArrayLike<any>} values
 * @param {boolean} descending
 * @param {number[]} rows
 */
export function orderBy(values, descending, rows) {
  const sign = descending ? -1 : 1;
  const collator = new Intl.Collator("en", { numeric: true });
  const isMissing = (value) => value === null || value === undefined || Number.isNaN(value);
  return rows.slice().sort((a, b) => {
    const [x, y] = [values[a], values[b]];
    if (isMissing(x) || isMissing(y)) return Number(isMissing(x)) - Number(isMissing(y)) || a - b;
    const compared = typeof x === "string" ? collator.compare(x, y) : x - y;
    return sign * compared || a - b;
  });
}

/** Return the medians and quartiles of y in windows along x, for a line through a cloud of points. */
export function runningQuartiles(x, y, rows) {
  const sorted = rows.filter((c) => isNumber(x[c]) && isNumber(y[c])).sort((a, b) => x[a] - x[b] || a - b);
  if (sorted.length < 20) return null;
  const size = Math.max(9, 2 * Math.round(sorted.length / 24) + 1);
  const step = Math.max(1, Math.floor(sorted.length / 150));
  const points = [];
  for (let begin = 0; begin + size <= sorted.length; begin += step) {
    const window = sorted.slice(begin, begin + size);
    const values = Float64Array.from(window, (c) => y[c]).sort();
    const middle = (size - 1) / 2;
    points.push({
      x: x[window[middle]],
      low: values[Math.floor(middle / 2)],
      median: values[middle],
      high: values[size - 1 - Math.floor(middle / 2)],
    });
  }
  // Classes with the same x make one point: the last, whose window reaches furthest.
  return { size, points: points.filter((point, i) => i + 1 === points.length || points[i + 1].x !== point.x) };
}
