// The head of the page: title, size, signature and findings.

import { el, fill, say } from "../dom.js";
import { count, decimal, share } from "../format.js";
import { nameElement, visible } from "../names.js";

const MOST_ABSENT = 24;

/** The sizes of the input that reports have, and their words. */
const TOTALS = [
  ["num_rows", "row", "rows"],
  ["num_images", "image", "images"],
  ["num_classes", "class", "classes"],
  ["num_labels", "label", "labels"],
  ["num_detections", "detection", "detections"],
  ["num_boxes", "box", "boxes"],
  ["num_found", "box found", "boxes found"],
  ["num_clusters", "cluster", "clusters"],
];

/** Make the button that copies a text. */
function copyButton(text, what) {
  const button = el("button", { type: "button", class: "quiet copy" }, "Copy");
  button.setAttribute("aria-label", `Copy ${what}`);
  button.addEventListener("click", async () => {
    const isCopied = await copied(text);
    button.textContent = isCopied ? "Copied" : "Select and copy by hand";
    say(isCopied ? `The ${what} is copied.` : `The browser does not allow copying. Select the ${what} by hand.`);
    setTimeout(() => fill(button, "Copy"), 2000);
  });
  return button;
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages that are opened as files, or inside of others, may have no clipboard but this one.
    const field = el("textarea", { class: "sr-only", "aria-hidden": "true", tabindex: -1 });
    field.value = text;
    const { activeElement } = document;
    document.body.append(field);
    field.select();
    const isDone = document.execCommand("copy");
    field.remove();
    activeElement?.focus();
    return isDone;
  }
}

/** @param {import("../model.js").Model} model @param {(c: number) => void} open */
export function headerView(model, open) {
  const { report, comparison } = model;
  const signature = report?.signature ?? comparison?.signature;
  return el(
    "header",
    { class: "head" },
    el("h1", null, el("bdi", null, visible(model.title))),
    sizeLine(model),
    signature &&
      el(
        "div",
        { class: "signature" },
        el("span", { class: "key" }, "signature"),
        el(
          "code",
          { id: "signature", tabindex: 0, role: "textbox", "aria-readonly": "true", "aria-label": "signature" },
          signature,
        ),
        copyButton(signature, "signature"),
      ),
    findings(model, open),
  );
}

function sizeLine(model) {
  const { report, comparison, training } = model;
  const source = report ?? comparison ?? {};
  const sizes = [
    ...TOTALS.map(([key, one, several]) => [key === "num_classes" ? model.numClasses : source[key], one, several]),
    [training?.runs.length, "training run", "training runs"],
  ];
  return el(
    "p",
    { class: "size" },
    sizes
      .filter(([n]) => typeof n === "number" && n > 0)
      .map(([n, one, several]) => el("span", null, el("b", null, count(n)), ` ${n === 1 ? one : several}`)),
  );
}

function findings(model, open) {
  const { report, comparison } = model;
  const items = [];
  if (report) {
    items.push(absentItem(model, open));
    if (report.rows_without_labels) {
      items.push(
        item("info", "Rows without labels", `${count(report.rows_without_labels)} of ${count(report.num_rows)} rows`),
      );
    }
    items.push(tieItem(model));
  }
  const notes = [...(report?.notes ?? []), ...(comparison?.notes ?? []), ...(model.doc.remarks ?? [])];
  for (const note of new Set(notes)) {
    const [, head, text] = /^(Saturation(?: of .+?)?): (.*)$/s.exec(note) ?? [note, "Note", note];
    items.push(item("note", visible(head), visible(text)));
  }
  const shown = items.filter(Boolean);
  if (!shown.length) return null;
  return el("section", { "aria-label": "Findings in the data" }, el("ul", { class: "findings" }, shown));
}

function item(kind, head, ...content) {
  return el("li", { class: kind }, el("b", null, head), " ", el("span", null, content));
}

function tieItem({ report, countName }) {
  const isOfBoxes = countName !== "positives";
  if (!report.tie_rate)
    return item("info", "Ties", isOfBoxes ? "none" : "no positive shares its score with a negative");
  const [low, high] = (report.mAP_tie_interval ?? []).map(decimal);
  return item(
    "note",
    "Ties",
    `${share(report.tie_rate)} of ${countName} share their score with a ${isOfBoxes ? "false positive" : "negative"}; `,
    "their order could move mAP ",
    low === high ? "by less than 0.0001" : `within ${low} to ${high}`,
  );
}

function absentItem(model, open) {
  const { report } = model;
  const ids = new Set(report.absent_classes ?? []);
  const absent = Array.from({ length: model.numClasses }, (_, c) => c).filter((c) => ids.has(model.classId(c)));
  if (!absent.length) return item("info", "Absent classes", `none: every class has ${model.countName}`);
  const meaning = report.settings?.absent === "zero" ? "count as 0 in AP and SAP" : "left out of means";
  const text = `${count(absent.length)} of ${count(model.numClasses)} classes have no ${model.countName}, ${meaning}`;
  const links = (list) =>
    list.map((c) =>
      el(
        "li",
        null,
        el(
          "a",
          {
            href: `#class=${c}`,
            onclick: (event) => {
              event.preventDefault();
              open(c);
            },
          },
          nameElement(model.className(c)),
        ),
      ),
    );
  const more = absent.length - MOST_ABSENT;
  return item(
    "note",
    "Absent classes",
    el(
      "details",
      null,
      el("summary", null, text),
      el(
        "ul",
        { class: "chips" },
        links(absent.slice(0, MOST_ABSENT)),
        more > 0 && el("li", null, `and ${count(more)} more`),
      ),
    ),
  );
}
