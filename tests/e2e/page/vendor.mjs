// Copies the libraries of the page from node_modules to src/admin/page/vendor, each with its version, the checksum of its
// package and its licence. With --check, it changes nothing and fails where a copy differs.
//
//   npm ci --prefix tests/e2e/page && node tests/e2e/page/vendor.mjs
import { readFileSync, writeFileSync, existsSync } from "node:fs";

const here = new URL("./", import.meta.url);
const vendor = new URL("../../../src/admin/page/vendor/", here);
const lock = JSON.parse(readFileSync(new URL("package-lock.json", here)));
const FILES = [
  ["preact", "dist/preact.mjs", "preact.js"],
  ["preact", "hooks/dist/hooks.mjs", "hooks.js"],
  ["htm", "dist/htm.mjs", "htm.js"],
];
const check = process.argv.includes("--check");
let wrong = 0;

const put = (name, text) => {
  const file = new URL(name, vendor);
  if (!check) writeFileSync(file, text);
  else if (!existsSync(file) || readFileSync(file, "utf8") !== text) {
    console.error(`${name} is not what vendor.mjs makes of the package`);
    wrong = 1;
  }
};

for (const [name, source, target] of FILES) {
  const { version, integrity, license } = lock.packages[`node_modules/${name}`];
  const code = readFileSync(new URL(`node_modules/${name}/${source}`, here), "utf8")
    // Modules without a build step are imported by their file.
    .replaceAll('from"preact"', 'from"./preact.js"')
    .replace(/\n?\/\/# sourceMappingURL=.*\n?$/, "")
    .trimEnd();
  put(target, `/*! ${name} ${version}, ${license}, licences.txt; ${integrity} */\n${code}\n`);
}
const licences = [...new Set(FILES.map(([name]) => name))].map((name) => {
  const { version } = lock.packages[`node_modules/${name}`];
  return `${name} ${version}\n\n${readFileSync(new URL(`node_modules/${name}/LICENSE`, here), "utf8").trim()}\n`;
});
put("licences.txt", licences.join(`\n${"-".repeat(80)}\n\n`));
process.exit(wrong);
