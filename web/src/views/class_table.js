// The table of all classes: search, sorting, presets, choice of columns, pages, CSV.

import { csvText, download } from "../csv.js";
import { el, fill, newId, say } from "../dom.js";
import { UNDEFINED, count, isNumber } from "../format.js";
import { markElement } from "../marks.js";
import { nameElement } from "../names.js";
import { orderBy } from "../model.js";
import { state, subscribe } from "../state.js";
import { scrollBox } from "../tables.js";

const PAGE_SIZES = [25, 50, 100, 250];

/**
 * @typedef {object} Column
 * @property {string} key
 * @property {string} heading
 * @property {ArrayLike<any>} values The values by which the column sorts.
 * @property {(value: any, c: number) => any} text
 * @property {boolean} [isText]
 * @property {boolean} [isHidden] Whether the column is hidden at first.
 * @property {string} [hint] The title of the heading.
 */

/**
 * @typedef {{name: string, key: string, descending: boolean}} Preset
 */

/**
 * Make the table of all classes.
 * @param {object} options
 * @param {import("../model.js").Model} options.model
 * @param {string} options.title
 * @param {Column[]} options.columns
 * @param {Preset[]} options.presets
 * @param {(c: number) => Element | null} [options.sketch]
 * @param {Record<string, ArrayLike<any>>} options.csv The columns of the download.
 * @param {string} options.fileName
 * @param {(c: number, list: number[]) => void} options.open
 * @param {string | null} [options.note] A sentence under the table.
 */
export function classTable(options) {
  const { model, columns, presets, open } = options;
  const id = newId("classes");
  const every = Array.from({ length: model.numClasses }, (_, c) => c);
  const names = every.map((c) => model.className(c).toLowerCase());
  const hidden = new Set(columns.filter((column) => column.isHidden).map((column) => column.key));
  let sorting = { key: "class", descending: false };
  let query = "";
  let size = 25;
  let page = 0;
  let found = every;

  const head = el("thead");
  const body = el("tbody");
  const place = el("p", { class: "place" });
  const search = el("input", {
    type: "search",
    id: `${id}-search`,
    placeholder: "name or index",
    autocomplete: "off",
    spellcheck: "false",
  });
  const sizes = el(
    "select",
    { id: `${id}-size` },
    PAGE_SIZES.map((n) => el("option", { value: n }, n)),
  );
  const buttons = {
    first: el("button", { type: "button", class: "quiet" }, "First"),
    previous: el("button", { type: "button", class: "quiet" }, "Previous"),
    next: el("button", { type: "button", class: "quiet" }, "Next"),
    last: el("button", { type: "button", class: "quiet" }, "Last"),
  };
  const presetButtons = presets.map((preset) =>
    el(
      "button",
      {
        type: "button",
        "aria-pressed": "false",
        onclick: () => {
          sorting = { key: preset.key, descending: preset.descending };
          hidden.delete(preset.key);
          page = 0;
          show();
          say(`Sorted: ${preset.name}. ${place.textContent}`);
        },
      },
      preset.name,
    ),
  );

  const columnOf = (key) => columns.find((column) => column.key === key);

  function visibleColumns() {
    return columns.filter((column) => !hidden.has(column.key));
  }

  function choose() {
    const membership = model.membership(state.partition);
    const index = /^\d+$/.test(query) ? Number(query) : -1;
    found = every.filter(
      (c) =>
        (state.group < 0 || membership[c] === state.group) &&
        (!query || names[c].includes(query) || model.classId(c) === index),
    );
    const { key, descending } = sorting;
    if (key === "class") {
      if (descending) found = found.slice().reverse();
    } else found = orderBy(columnOf(key).values, descending, found);
  }

  function heading(key, text, { isText = false, hint } = {}) {
    const isSorted = sorting.key === key;
    const button = el(
      "button",
      {
        type: "button",
        title: hint,
        "data-key": key,
        onclick: () => {
          const first = !isText && key !== "class"; // numbers descend at first
          sorting = { key, descending: isSorted ? !sorting.descending : first };
          page = 0;
          show();
          head.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
        },
      },
      text,
      el("span", { class: "arrow", "aria-hidden": "true" }, isSorted ? (sorting.descending ? "\u25bc" : "\u25b2") : ""),
    );
    return el(
      "th",
      {
        scope: "col",
        class: isText ? "text" : null,
        "aria-sort": isSorted ? (sorting.descending ? "descending" : "ascending") : "none",
      },
      button,
    );
  }

  function row(c, shown, marks) {
    const link = el(
      "a",
      {
        href: `#class=${c}`,
        onclick: (event) => {
          if (event.ctrlKey || event.metaKey || event.shiftKey) return;
          event.preventDefault();
          event.stopPropagation();
          open(c, found);
        },
      },
      nameElement(model.className(c)),
    );
    return el(
      "tr",
      {
        "data-class": c,
        class: c === state.selected ? "chosen" : null,
        onclick: () => {
          if (!String(getSelection())) open(c, found);
        },
      },
      el("td", { class: "index" }, model.classId(c)),
      el("th", { scope: "row", class: "text" }, marks && markElement(marks[c]), link),
      options.sketch && el("td", { class: "graphic" }, options.sketch(c)),
      shown.map((column) => {
        const text = column.text(column.values[c], c);
        return el("td", { class: column.isText ? "text" : null, "data-key": column.key }, text ?? UNDEFINED);
      }),
    );
  }

  function show() {
    choose();
    const numPages = Math.max(1, Math.ceil(found.length / size));
    page = Math.min(page, numPages - 1);
    const shown = visibleColumns();
    const marks = model.partitions.size ? model.membership(state.partition) : null;
    fill(
      head,
      el(
        "tr",
        null,
        heading("class", "#", { hint: "index of the class" }),
        columnOf("name")
          ? heading("name", "class", { isText: true })
          : el("th", { scope: "col", class: "text" }, "class"),
        options.sketch && el("th", { scope: "col", class: "graphic" }, "curve"),
        shown.filter((column) => column.key !== "name").map((column) => heading(column.key, column.heading, column)),
      ),
    );
    const cells = shown.filter((column) => column.key !== "name");
    const rows = found.slice(page * size, (page + 1) * size).map((c) => row(c, cells, marks));
    if (!rows.length) {
      const span = cells.length + (options.sketch ? 3 : 2);
      rows.push(el("tr", null, el("td", { class: "text", colspan: span }, "No class fits the search and the group.")));
    }
    fill(body, rows);
    const [begin, end] = [found.length ? page * size + 1 : 0, Math.min((page + 1) * size, found.length)];
    const all = found.length === model.numClasses ? "" : ` (of ${count(model.numClasses)})`;
    fill(place, `${count(begin)} to ${count(end)} of ${count(found.length)} classes${all}`);
    buttons.first.disabled = buttons.previous.disabled = page === 0;
    buttons.next.disabled = buttons.last.disabled = page === numPages - 1;
    presets.forEach((preset, i) => {
      const isOn = preset.key === sorting.key && preset.descending === sorting.descending;
      presetButtons[i].setAttribute("aria-pressed", String(isOn));
    });
  }

  search.addEventListener("input", () => {
    query = search.value.trim().toLowerCase();
    page = 0;
    show();
    say(`${count(found.length)} classes found`);
  });
  sizes.addEventListener("change", () => {
    size = Number(sizes.value);
    page = 0;
    show();
  });
  const turn = (to) => () => {
    page = to();
    show();
    say(place.textContent);
  };
  const lastPage = () => Math.max(0, Math.ceil(found.length / size) - 1);
  buttons.first.addEventListener(
    "click",
    turn(() => 0),
  );
  buttons.previous.addEventListener(
    "click",
    turn(() => Math.max(0, page - 1)),
  );
  buttons.next.addEventListener(
    "click",
    turn(() => Math.min(page + 1, lastPage())),
  );
  buttons.last.addEventListener("click", turn(lastPage));

  const chooser = el(
    "details",
    { class: "menu" },
    el("summary", null, "Columns"),
    el(
      "fieldset",
      null,
      el("legend", { class: "sr-only" }, "Columns of the table"),
      columns
        .filter((column) => column.key !== "name")
        .map((column) => {
          const box = el("input", { type: "checkbox", "data-key": column.key });
          box.checked = !hidden.has(column.key);
          box.addEventListener("change", () => {
            if (box.checked) hidden.delete(column.key);
            else hidden.add(column.key);
            show();
          });
          return el("label", null, box, " ", column.heading);
        }),
    ),
  );
  chooser.addEventListener("toggle", () => {
    for (const box of chooser.querySelectorAll("input")) box.checked = !hidden.has(box.dataset.key);
  });
  chooser.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !chooser.open) return;
    chooser.open = false;
    chooser.querySelector("summary").focus();
    event.stopPropagation();
  });

  subscribe((changed) => {
    if (changed.has("group") || changed.has("partition")) {
      page = changed.has("group") ? 0 : page;
      show();
    } else if (changed.has("selected")) {
      for (const one of body.querySelectorAll("tr")) {
        one.classList.toggle("chosen", Number(one.dataset.class) === state.selected);
      }
    }
  });
  show();

  return el(
    "section",
    { id, class: "class-table", "aria-labelledby": `${id}-h` },
    el("h2", { id: `${id}-h` }, options.title),
    el(
      "div",
      { class: "tools" },
      el("label", { for: `${id}-search` }, "Search"),
      search,
      presetButtons.length > 0 &&
        el("div", { class: "presets", role: "group", "aria-label": "Presets of sorting" }, presetButtons),
      el("span", { class: "spring" }),
      chooser,
      el(
        "button",
        { type: "button", class: "quiet", onclick: () => download(options.fileName, csvText(options.csv)) },
        "CSV of all classes",
      ),
    ),
    scrollBox(`Rows: ${options.title}`, el("table", { class: "rows" }, head, body)),
    el(
      "div",
      { class: "tools pager" },
      place,
      el("span", { class: "spring" }),
      el("label", { for: `${id}-size` }, "Rows"),
      sizes,
      Object.values(buttons),
    ),
    options.note && el("p", { class: "note" }, options.note),
  );
}

/** The differences high - low, for columns that sort by the width of an interval. */
export function widths(low, high) {
  return Array.from(low, (value, c) => (isNumber(value) && isNumber(high[c]) ? high[c] - value : null));
}
