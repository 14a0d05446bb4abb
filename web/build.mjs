// Build the assets of the HTML page: node build.mjs [FOLDER]
// The same sources and the same lock file give the same bytes.
import { build } from "esbuild";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.argv[2] ?? join(here, "../vltr_eval/page/assets"));

const shared = {
  absWorkingDir: here,
  bundle: true,
  minify: true,
  charset: "ascii",
  legalComments: "none", // LICENSES.txt has them
  target: ["chrome125", "firefox128", "safari17.5"],
  metafile: true,
  write: false,
  logLevel: "warning",
};

/** Return the licence of every bundled package, in the order of their names. */
function licences(metafile) {
  const packages = new Set();
  for (const path of Object.keys(metafile.inputs)) {
    const found = /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path);
    if (found) packages.add(found[1]);
  }
  const parts = [...packages].sort().map((name) => {
    const folder = join(here, "node_modules", name);
    const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = ["LICENSE", "LICENSE.md", "LICENSE.txt"].map((entry) => join(folder, entry)).find(existsSync);
    return `${name} ${version} (${license})\n\n${readFileSync(file, "utf8").trim()}\n`;
  });
  return "page.js contains code of these packages.\n\n" + parts.join(`\n${"-".repeat(80)}\n\n`);
}

const script = await build({ ...shared, entryPoints: ["src/main.js"], format: "iife" });
const style = await build({ ...shared, entryPoints: ["src/page.css"] });
const code = script.outputFiles[0].text;
// The page holds the script inline, where these would end it.
if (/<\/script|<!--/i.test(code)) throw new Error("page.js: expected no end of a script element, got one");
mkdirSync(out, { recursive: true });
writeFileSync(join(out, "page.js"), code);
writeFileSync(join(out, "page.css"), style.outputFiles[0].text);
writeFileSync(join(out, "LICENSES.txt"), licences(script.metafile));
