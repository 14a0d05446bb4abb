// The panel of one class. It is beside the page where there is room, else over it.

import { forgetDetached } from "../chart.js";
import { el, fill, newId, say } from "../dom.js";
import { UNDEFINED, count, decimal, isNumber, pValue, score, signed } from "../format.js";
import { markElement } from "../marks.js";
import { nameElement, shortName, visible } from "../names.js";
import { state, update } from "../state.js";
import { meansTable } from "../tables.js";
import { bestPoint, curveChart, fOne, histogramChart, thresholdChart } from "./class_charts.js";
import { columnHeading, columnText } from "./report_table.js";
import { systemColour } from "../systems.js";

const WIDE = matchMedia("(min-width: 1100px)");

/**
 * Make the panel.
 * @param {import("../model.js").Model} model
 * @param {HTMLElement} page The element that the panel covers on a narrow screen.
 */
export function classPanel(model, page) {
  let list = Array.from({ length: model.numClasses }, (_, c) => c);
  let opener = null;
  const titleId = newId("panel");
  const element = el("section", {
    class: "panel",
    role: "dialog",
    "aria-labelledby": titleId,
    hidden: true,
    tabindex: -1,
  });

  /** Show a class. order: the classes among which the panel moves. */
  function open(c, order, { focus = true } = {}) {
    if (!(Number.isInteger(c) && c >= 0 && c < model.numClasses)) return;
    if (element.hidden) opener = document.activeElement;
    if (order) list = order;
    update({ selected: c });
    if (location.hash !== `#class=${c}`) setHash(`#class=${c}`);
    element.hidden = false;
    element.dataset.shown = c;
    document.documentElement.classList.add("has-panel");
    cover();
    show(c);
    element.scrollTop = 0;
    if (focus) element.querySelector(".panel-title").focus({ preventScroll: true });
  }

  function close() {
    if (element.hidden) return;
    element.hidden = true;
    document.documentElement.classList.remove("has-panel");
    page.inert = false;
    setHash("");
    const row = document.querySelector(`tr[data-class="${state.selected}"] a`);
    update({ selected: -1 });
    const target = opener?.isConnected && opener !== document.body ? opener : row;
    target?.focus({ preventScroll: true });
    opener = null;
  }

  function cover() {
    const isOver = !element.hidden && !WIDE.matches;
    page.inert = isOver;
    if (isOver) element.setAttribute("aria-modal", "true");
    else element.removeAttribute("aria-modal");
  }
  WIDE.addEventListener("change", cover);

  function setHash(hash) {
    try {
      history.replaceState(null, "", hash || location.href.split("#")[0]);
    } catch {
      if (hash) location.hash = hash; // a page inside of another may not change its history
    }
  }

  function move(step) {
    const at = list.indexOf(state.selected);
    const next = list[at < 0 ? 0 : at + step];
    if (next === undefined) return;
    open(next, null, { focus: false });
    say(`class ${shortName(model.className(next))}`);
  }

  function show(c) {
    const charts = chartsOf(model, c);
    const at = list.indexOf(c);
    const button = (text, label, action, isOff) =>
      el("button", { type: "button", class: "quiet", "aria-label": label, onclick: action, disabled: isOff }, text);
    fill(
      element,
      el(
        "div",
        { class: "panel-bar" },
        button("\u2190", "Previous class", () => refocus("Previous class", -1), at <= 0),
        button("\u2192", "Next class", () => refocus("Next class", 1), at < 0 || at + 1 >= list.length),
        el("span", { class: "place" }, at < 0 ? "" : `${count(at + 1)} of ${count(list.length)}`),
        el("span", { class: "spring" }),
        button("Close", "Close the panel", close, false),
      ),
      el("h2", { id: titleId, class: "panel-title", tabindex: -1 }, nameElement(model.className(c), { wraps: true })),
      facts(model, c),
      model.systems.length > 0 && differences(model, c),
      charts.elements,
      mistakes(model, c),
      numbers(model, c),
    );
    charts.draw();
    forgetDetached();
  }

  function refocus(label, step) {
    move(step);
    element.querySelector(`[aria-label="${label}"]:not(:disabled)`)?.focus();
    if (!element.contains(document.activeElement)) element.querySelector(".panel-title").focus();
  }

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !element.hidden && !event.defaultPrevented) close();
  });

  return { element, open, close };
}

function facts(model, c) {
  const { classes } = model;
  const parts = [el("span", null, `class ${model.classId(c)}`)];
  if (classes.group?.[c]) {
    parts.push(el("span", null, markElement(model.membership("")[c]), el("bdi", null, classes.group[c])));
  }
  if (classes.train_count) parts.push(el("span", null, el("b", null, count(classes.train_count[c])), " in training"));
  if (model.positives) parts.push(el("span", null, el("b", null, count(model.positives[c])), ` ${model.countName}`));
  if (classes.AP) parts.push(el("span", null, "AP ", el("b", null, decimal(classes.AP[c]))));
  return el("p", { class: "facts" }, parts);
}

/** The systems whose details the page has, with the curve of a class. */
function curvesOf(model, c) {
  return model.details
    .map((detail, i) => ({ name: detail.name, detail, curve: detail.curve(c), colour: systemColour(model, i) }))
    .filter(({ curve }) => curve);
}

function chartsOf(model, c) {
  const systems = curvesOf(model, c);
  if (!systems.length) {
    const why = model.details.length
      ? "The class has no positive, so it has no curve."
      : "The page has no curves: it was made from means and values of classes alone.";
    const histogram = model.details.map((detail) => detail.histogram(c)).find(Boolean);
    const frame = histogram && histogramChart(histogram);
    return { elements: [el("p", { class: "note" }, why), frame?.figure], draw: () => frame?.redraw() };
  }
  const positives = model.positives[c];
  const rows = model.report?.num_rows ?? model.comparison?.num_rows;
  const negatives = model.classes.num_negatives?.[c] ?? rows - positives;
  let active = 0;
  let at = bestPoint(systems[0].curve);
  let shown = [];
  const readout = el("dl", { class: "readout" });
  const slider = el("input", { type: "range", min: 0, step: 1, "aria-label": "Threshold" });
  const below = el("div", { class: "system-charts" });

  function place(i = at) {
    at = i;
    const { curve } = systems[active];
    const [threshold, precision, recall] = [curve.threshold[i], curve.precision[i], curve.recall[i]];
    const tp = Math.round(recall * positives);
    const fp = precision > 0 ? Math.round(tp / precision) - tp : null;
    const entry = (key, value) => el("div", null, el("dt", null, key), el("dd", null, value));
    fill(
      readout,
      entry("threshold", score(threshold)),
      entry("precision", decimal(precision)),
      entry("recall", decimal(recall)),
      entry("F1", decimal(fOne(precision, recall))),
      entry("true positives", `${count(tp)} of ${count(positives)}`),
      fp !== null && entry("false positives", `\u2248 ${count(fp)}`),
    );
    slider.value = i;
    slider.setAttribute(
      "aria-valuetext",
      `threshold ${score(threshold)}, precision ${decimal(precision)}, recall ${decimal(recall)}`,
    );
    curves.place?.(active, i);
    shown[0]?.place?.(i);
    shown[1]?.place?.(threshold);
  }
  slider.addEventListener("input", () => place(Number(slider.value)));

  const curves = curveChart(systems, { share: positives / (positives + negatives), move: (i) => place(i) });

  function select(system, { keep = false } = {}) {
    active = system;
    const { curve, detail } = systems[system];
    slider.max = curve.recall.length - 1;
    curves.select(system);
    const histogram = detail.histogram(c);
    shown = [thresholdChart(curve, { move: (i) => place(i) }), histogram ? histogramChart(histogram) : null];
    for (const frame of shown) if (frame) frame.replace = () => place();
    fill(
      below,
      shown.map((frame) => frame?.figure),
    );
    if (below.isConnected) for (const frame of shown) frame?.redraw();
    place(keep ? Math.min(at, curve.recall.length - 1) : bestPoint(curve));
  }
  curves.replace = () => place();

  const switcher =
    systems.length > 1 &&
    el(
      "div",
      { class: "switch", role: "group", "aria-label": "System of the threshold" },
      systems.map(({ name }, i) =>
        el(
          "button",
          {
            type: "button",
            "aria-pressed": String(i === 0),
            onclick: ({ currentTarget }) => {
              for (const one of currentTarget.parentNode.children)
                one.setAttribute("aria-pressed", String(one === currentTarget));
              select(i);
            },
          },
          el("bdi", null, visible(name)),
        ),
      ),
    );
  const elements = [
    curves.figure,
    switcher,
    el("div", { class: "threshold" }, el("span", { class: "key" }, "threshold"), slider),
    readout,
    below,
  ];
  return {
    elements,
    draw() {
      curves.redraw();
      select(0);
    },
  };
}

function mistakes(model, c) {
  const blocks = model.details.map((detail) => {
    const found = detail.mistakes(c);
    if (!found) return null;
    const table = (title, rows, empty) =>
      el(
        "div",
        null,
        el("h4", null, title),
        rows.length
          ? el(
              "ol",
              { class: "mistakes" },
              rows.map(({ row, score: value }) =>
                el("li", null, nameElement(String(model.rowName(row))), el("span", { class: "value" }, score(value))),
              ),
            )
          : el("p", { class: "note" }, empty),
      );
    return el(
      "div",
      { class: "mistake-lists" },
      model.details.length > 1 && el("p", { class: "key" }, el("bdi", null, visible(detail.name))),
      table("Positives with the lowest scores", found.missed, "The class has no positive."),
      table("Negatives with the highest scores", found.false, "The class has no negative."),
    );
  });
  if (!blocks.some(Boolean)) return null;
  return el("section", { class: "block" }, el("h3", null, "Rows that are most wrong"), blocks);
}

function numbers(model, c) {
  const { classes } = model;
  if (model.systems.length) return null;
  const entries = Object.entries(classes).filter(([key]) => key !== "name" && key !== "class");
  return el(
    "section",
    { class: "block" },
    el("h3", null, "Numbers"),
    el(
      "dl",
      { class: "numbers" },
      entries.map(([key, values]) =>
        el(
          "div",
          { "data-key": key },
          el("dt", null, numberHeading(model, key)),
          el(
            "dd",
            null,
            typeof values[c] === "string" ? el("bdi", null, visible(values[c])) : columnText(key, values[c]),
          ),
        ),
      ),
    ),
  );
}

function numberHeading(model, key) {
  const found = /^(.*)_(low|high)$/.exec(key);
  if (found && found[1] in model.classes) return `${columnHeading(model, found[1])}, ${found[2]} end`;
  return columnHeading(model, key);
}

function differences(model, c) {
  const metric = model.comparison.class_metric;
  const level = `${Math.round(model.comparison.level * 1e4) / 100} % interval`;
  const heads = [metric, "base", "new", "difference", level, "p", "p (Holm)", "p (BH)"];
  const rows = model.systems.map(({ name, classes: k }) =>
    el(
      "tr",
      null,
      el("th", { scope: "row" }, el("bdi", null, visible(name))),
      [k.base, k.new].map((values) => el("td", null, decimal(values[c]))),
      el("td", null, signed(k.difference[c])),
      el("td", null, isNumber(k.low[c]) ? `${signed(k.low[c])} to ${signed(k.high[c])}` : UNDEFINED),
      [k.p_value, k.holm, k.benjamini_hochberg].map((values) => el("td", null, pValue(values[c]))),
    ),
  );
  return el("section", { class: "block" }, meansTable("Differences of the class", heads, el("tbody", null, rows)));
}
