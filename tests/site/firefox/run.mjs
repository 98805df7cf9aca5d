// node run.mjs ORIGIN FIREFOX all|pages PAGE …: one line of JSON for each check, {name, fault}; fault is null where all is
// well. "pages" leaves it at looking at each page.

import { CHECKS, pageCheck, WAYS } from "./checks.mjs";
import { firefox, Visit } from "./visit.mjs";

const [origin, executable, what, ...pages] = process.argv.slice(2);

async function check(browser, viewport, name, ask) {
  let fault = null;
  const visit = await Visit.begin(browser, origin, viewport);
  try {
    await ask(visit);
    if (visit.faults.length) fault = visit.faults.join("\n");
  } catch (error) {
    fault = [error.message, ...visit.faults].join("\n");
  }
  await visit.end();
  console.log(JSON.stringify({ name, fault }));
}

for (const [scheme, viewport] of WAYS) {
  const browser = await firefox(executable, scheme);
  try {
    for (const path of pages) await check(browser, viewport, `${path}, ${scheme}, ${viewport.width} px`, pageCheck(path, viewport, scheme));
    for (const [name, ask] of what === "all" ? Object.entries(CHECKS) : []) await check(browser, viewport, `${name}, ${scheme}, ${viewport.width} px`, ask);
  } finally {
    await browser.close();
  }
}
