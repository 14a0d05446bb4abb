// The bar that stays at the top: links to the sections, the choice of a group, and of colours.

import { redrawAll } from "../chart.js";
import { el, fill, say } from "../dom.js";
import { count } from "../format.js";
import { groupColour, markElement } from "../marks.js";
import { state, subscribe, update } from "../state.js";
import { visible } from "../names.js";

const THEMES = { auto: "Colours: system", light: "Colours: light", dark: "Colours: dark" };

/** Make the button that goes from the colours of the system to light and dark ones. */
function themeButton() {
  const names = Object.keys(THEMES);
  let at = 0;
  const button = el("button", { type: "button", class: "quiet theme" }, THEMES.auto);
  button.addEventListener("click", () => {
    at = (at + 1) % names.length;
    if (at === 0) delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = names[at];
    button.textContent = THEMES[names[at]];
    redrawAll();
  });
  return button;
}

/** The choice of a group and of a partition. @param {import("../model.js").Model} model */
function groupChoice(model) {
  if (!model.partitions.size) return null;
  const buttons = el("div", { class: "groups", role: "group", "aria-label": "Group of classes to show" });
  const titles = new Map([...model.partitions.keys()].map((name) => [name, name || "training count"]));
  const select = el(
    "select",
    { "aria-label": "Partition of the classes" },
    [...titles].map(([name, title]) => el("option", { value: name }, visible(title))),
  );
  select.addEventListener("change", () => update({ partition: select.value, group: -1 }));

  function show() {
    const groups = model.partitions.get(state.partition);
    const sizes = new Array(groups.length).fill(0);
    for (const group of model.membership(state.partition)) if (group >= 0) sizes[group] += 1;
    const button = (group, content, size) => {
      const one = el(
        "button",
        {
          type: "button",
          "aria-pressed": String(state.group === group),
          onclick: () => {
            update({ group });
            buttons.querySelector(`[data-group="${group}"]`)?.focus();
            say(group < 0 ? "All classes are shown." : `Only ${groups[group]} is shown.`);
          },
          "data-group": group,
        },
        content,
        el("span", { class: "number" }, count(size)),
      );
      if (group >= 0) one.style.setProperty("--own", `var(${groupColour(group)})`);
      return one;
    };
    fill(
      buttons,
      button(-1, "all", model.numClasses),
      groups.map((name, i) => button(i, [markElement(i), el("bdi", null, visible(name))], sizes[i])),
    );
  }
  subscribe((changed) => {
    if (changed.has("group") || changed.has("partition")) show();
  });
  show();
  return [model.partitions.size > 1 && select, buttons];
}

/**
 * @param {import("../model.js").Model} model
 * @param {[string, string][]} sections Titles and ids.
 */
export function barView(model, sections) {
  return el(
    "div",
    { class: "bar" },
    el(
      "nav",
      { "aria-label": "Sections" },
      sections.map(([title, id]) => el("a", { href: `#${id}` }, title)),
    ),
    groupChoice(model),
    themeButton(),
  );
}
