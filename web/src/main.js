// The start of the page: reads the document, builds the views, opens the class of the address.

import { chartGrid, redrawAll } from "./chart.js";
import { append, el, headedSection, liveRegion } from "./dom.js";
import { Model } from "./model.js";
import { watchPrinting } from "./print.js";
import { state } from "./state.js";
import { barView } from "./views/bar.js";
import { classPanel } from "./views/class_panel.js";
import { comparisonViews } from "./views/comparison.js";
import { extraViews } from "./views/extras.js";
import { groupsView } from "./views/groups.js";
import { headerView } from "./views/header.js";
import { countView, distributionView, sapView } from "./views/overview.js";
import { reportTable } from "./views/report_table.js";
import { systemsView } from "./views/systems.js";
import { trainingView } from "./views/training.js";

const SCHEMA = "vltr-eval/page/1";

function start() {
  const doc = JSON.parse(document.getElementById("vltr-data").textContent);
  if (doc.schema !== SCHEMA) return; // the static table stays
  const model = new Model(doc);
  if (model.partitions.size) state.partition = model.partitions.keys().next().value;
  const app = document.getElementById("app");
  const page = el("div", { class: "page" });
  let panel = null;
  const open = (c, list) => panel?.open(c, list);

  const content = [];
  const sections = [];
  if (model.report) {
    content.push(groupsView(model));
    sections.push(["Groups", "groups"]);
    if (model.numClasses) {
      const views = [countView(model, open), distributionView(model), sapView(model, open)].filter(Boolean);
      content.push(headedSection("overview", "Classes at a glance", chartGrid(views, "lead")));
      sections.push(["Charts", "overview"]);
    }
    for (const section of extraViews(model)) {
      content.push(section);
      sections.push([section.querySelector("h2").textContent, section.id]);
    }
    if (model.numClasses) {
      const table = reportTable(model, open);
      content.push(table);
      sections.push(["All classes", table.id]);
    }
  }
  if (model.comparison) {
    const views = comparisonViews(model, open);
    const systems = systemsView(
      model,
      views.map((section) => section.id),
    );
    if (systems) {
      content.push(systems);
      sections.push(["Systems", systems.id]);
    }
    for (const section of views) {
      content.push(section);
      sections.push([section.querySelector("h2 bdi").textContent, section.id]);
    }
  }
  if (model.training) {
    const section = trainingView(model);
    content.push(section);
    sections.push(["Learning curves", section.id]);
  }
  append(page, [
    headerView(model, open),
    barView(model, sections),
    content,
    el("footer", null, "Made by vltr. The page holds all its data and loads nothing."),
  ]);
  app.replaceChildren(page);
  if (model.numClasses) {
    panel = classPanel(model, page);
    app.append(panel.element);
  }
  app.append(liveRegion());
  redrawAll();
  watchPrinting();
  followAddress(panel);
  performance.mark("vltr-ready");
  document.documentElement.dataset.ready = "true";
}

/** Open the class that the address names, as in #class=17. */
function followAddress(panel) {
  const follow = () => {
    const found = /^#class=(\d+)$/.exec(location.hash);
    if (found) panel?.open(Number(found[1]));
  };
  addEventListener("hashchange", follow);
  follow();
}

start();
