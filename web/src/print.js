// Printing: light colours, the width of the paper, and parts that are folded on the screen.

import { redrawAll } from "./chart.js";

/** Prepare the page before it is printed, and put it back after that. */
export function watchPrinting() {
  const root = document.documentElement;
  let restore = null;

  function begin() {
    if (restore) return;
    const { theme } = root.dataset;
    const folded = [...document.querySelectorAll("details:not([open]):not(.menu)")];
    restore = () => {
      if (theme) root.dataset.theme = theme;
      else delete root.dataset.theme;
      for (const one of folded) one.open = false;
    };
    root.dataset.theme = "light";
    root.classList.add("printing");
    for (const one of folded) one.open = true;
    redrawAll({ printing: true });
  }

  function end() {
    if (!restore) return;
    restore();
    restore = null;
    root.classList.remove("printing");
    redrawAll();
  }

  addEventListener("beforeprint", begin);
  addEventListener("afterprint", end);
  const media = matchMedia("print");
  media.addEventListener("change", () => (media.matches ? begin() : end()));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    if (!restore) redrawAll();
  });
}
