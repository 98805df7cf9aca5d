// Firefox with the network cut, and a page in it that knows what went wrong so far.

import { launch } from "puppeteer-core";

const PATIENCE = 90_000; // milliseconds: a busy machine is no fault of the page
// A proxy at which nobody listens stands before everything but this machine itself.
const CUT = { "network.proxy.type": 1, "network.proxy.no_proxies_on": "127.0.0.1" };
for (const kind of ["http", "ssl"]) Object.assign(CUT, { [`network.proxy.${kind}`]: "127.0.0.1", [`network.proxy.${kind}_port`]: 9 });

export const DESK = { width: 1440, height: 900 };
export const PHONE = { width: 390, height: 844 };

// scheme: "light" or "dark", as the system of the reader would have it; Firefox takes it when it starts.
export function firefox(executablePath, scheme) {
  const wish = { "layout.css.prefers-color-scheme.content-override": scheme === "dark" ? 0 : 1 };
  return launch({ browser: "firefox", executablePath, headless: true, protocolTimeout: PATIENCE, extraPrefsFirefox: { ...CUT, ...wish } });
}

export class Visit {
  // A context of its own each, so that no visit finds what another one left in the browser's memory.
  static async begin(browser, origin, viewport) {
    const context = await browser.createBrowserContext();
    const page = await context.newPage();
    await page.setViewport(viewport);
    page.setDefaultTimeout(PATIENCE);
    return new Visit(context, page, origin);
  }

  constructor(context, page, origin) {
    Object.assign(this, { context, page, origin, faults: [] });
    const complain = (...words) => this.faults.push(words.join(" "));
    page.on("console", (message) => message.type() === "error" && complain("console:", message.text()));
    page.on("pageerror", (error) => complain("console:", error.message ?? error));
    page.on("request", (request) => !this.own(request.url()) && complain("outside:", request.url()));
    page.on("response", (response) => response.status() >= 400 && complain(response.status(), response.url()));
  }

  own(url) {
    return url.startsWith(`${this.origin}/`) || /^(data|blob|about):/.test(url);
  }

  async open(path) {
    await this.page.goto(`${this.origin}/${path}`, { waitUntil: "networkidle0" });
    return this.page;
  }

  end() {
    return this.context.close();
  }
}

export const text = (page, place) => page.$eval(place, (element) => element.innerText);

// Waits until what a function of the page says is true.
export const until = (page, told, ...given) => page.waitForFunction(told, { polling: 50 }, ...given);

export async function key(page, place, ...names) {
  await page.focus(place);
  for (const name of names) await page.keyboard.press(name);
}

// A click on a range, at so great a share of its width.
export async function clickAt(page, place, share) {
  const range = await page.waitForSelector(place, { visible: true });
  await range.evaluate((element) => element.scrollIntoView({ block: "center" }));
  const box = await range.boundingBox();
  await page.mouse.click(box.x + 2 + share * (box.width - 4), box.y + box.height / 2);
}
