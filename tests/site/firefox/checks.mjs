// What is asked of the site in Firefox, by name; each check is given a visit of its own.

import assert from "node:assert/strict";

import { clickAt, DESK, key, PHONE, text, until } from "./visit.mjs";

const ATLAS = "atlas/index.html";
const CAVE = "live/index.html#picture=ruby-dotshell,meadow,medium,1&latent=18&strength=2";
const BOOK = "book/intro.html";

const shown = (page) => until(page, () => document.body.hasAttribute("data-shown"));
const address = (page) => page.evaluate(() => location.hash);
const rows = (page) => page.$$eval(".row[data-place]", (found) => found.map((row) => row.innerText));

async function atlas(visit, view = "") {
  const page = await visit.open(ATLAS + view);
  await shown(page);
  return page;
}

// Runs an action and waits until the live model has answered what it asks.
async function answered(page, action) {
  const settled = await page.evaluate(() => Number(document.documentElement.dataset.settled ?? 0));
  await action();
  await until(page, (before) => Number(document.documentElement.dataset.settled ?? 0) > before, settled);
  return text(page, "#answer");
}

async function live(visit) {
  const page = await visit.open(CAVE);
  return [page, await answered(page, () => page.click("#load"))];
}

// The answers that were computed beforehand, along their slider.
async function beforehand(page) {
  await page.waitForSelector("#b-strength", { visible: true });
  await key(page, "#b-strength", "Home");
  const said = new Set([await text(page, "#b-caption")]);
  for (let step = 0; step < 12; step++) {
    await key(page, "#b-strength", "ArrowRight");
    said.add(await text(page, "#b-caption"));
  }
  assert.ok(said.size > 1 && !said.has(""), [...said].join("; "));
}

async function refuse(page, file) {
  await page.setRequestInterception(true);
  page.on("request", (request) => (request.url().endsWith(file) ? request.abort() : request.continue()));
}

export const CHECKS = {
  async "the atlas finds a word and a number"(visit) {
    const page = await atlas(visit);
    const all = await text(page, "#count");
    await page.keyboard.press("/");
    await page.keyboard.type("beetle");
    await until(page, (before) => document.getElementById("count").innerText !== before, all);
    await shown(page);
    const found = await rows(page);
    assert.ok(found.length > 0 && found.every((row) => row.toLowerCase().includes("beetle")), found.join("; "));
    await page.$eval("#search", (field) => ((field.value = "17"), field.dispatchEvent(new Event("input"))));
    await until(page, () => document.querySelectorAll(".row[data-place]").length === 1);
    assert.match((await rows(page))[0], /^17\b/);
  },

  async "the atlas filters, and its address brings the filter back"(visit) {
    const page = await atlas(visit);
    await page.click("#filters summary");
    const [least, most] = ["fires, at least", "fires, at most"].map((label) => `[aria-label="${label}"]`);
    await page.type(least, "10");
    await page.type(most, "20");
    await until(page, () => location.hash.includes("f.fires=0.1..0.2"));
    await shown(page);
    const found = await rows(page), hash = await address(page);
    assert.ok(found.length > 0);
    for (const row of found) {
      const rate = Number(/([\d.]+) %/.exec(row)[1]);
      assert.ok(rate >= 10 && rate <= 20, row);
    }
    await page.goto("about:blank");
    await atlas(visit, hash);
    assert.deepEqual(await rows(page), found);
  },

  async "a link opens its latent, and keys lead through"(visit) {
    const page = await atlas(visit, "#sae=steering&latent=3");
    assert.match(await text(page, ".panel-head p"), /latent 3/);
    await key(page, "#grid", "Home", "ArrowDown", "ArrowDown", "Enter");
    await until(page, () => document.activeElement.id === "first-title" && location.hash.includes("latent=2"));
    await page.keyboard.press("Escape");
    await until(page, () => !document.querySelector(".panel"));
  },

  async "the slider of the cover follows keys and mouse"(visit) {
    const page = await visit.open(BOOK);
    await key(page, "#ce-strength", "Home");
    const unsteered = await text(page, ".ce-steered");
    await key(page, "#ce-strength", "End");
    const steered = await text(page, ".ce-steered");
    assert.notEqual(steered, unsteered);
    await clickAt(page, "#ce-strength", 0);
    assert.equal(await text(page, ".ce-steered"), unsteered);
    await clickAt(page, "#ce-strength", 1);
    assert.equal(await text(page, ".ce-steered"), steered);
  },

  async "a link brings the live model's state, and the model answers"(visit) {
    const [page, said] = await live(visit);
    assert.match(said, /cave/);
    assert.match(await text(page, "#before"), /meadow/);
  },

  async "the live model's slider follows keys and mouse"(visit) {
    const [page] = await live(visit);
    const middle = await answered(page, () => clickAt(page, "#strength", 0.5));
    assert.equal(await text(page, "#stated"), "unsteered");
    assert.notEqual(await answered(page, () => key(page, "#strength", "End")), middle);
    assert.notEqual(await answered(page, () => key(page, "#strength", "Home")), middle);
    assert.notEqual(await answered(page, () => clickAt(page, "#strength", 0.99)), middle);
  },

  async "a picture is painted, and heat lies on it where the latent fires"(visit) {
    const [page] = await live(visit);
    await answered(page, () => page.select("#habitat", "cave"));
    const firing = Number(/fires on (\d+) of 64/.exec(await text(page, "#heat-says"))[1]);
    const covered = await page.$eval("#heat", (heat) => {
      const { data } = heat.getContext("2d").getImageData(0, 0, heat.width, heat.height);
      return data.filter((_, i) => i % 4 === 3 && data[i] > 0).length;
    });
    assert.ok(firing > 0);
    assert.equal(covered, firing);
  },

  async "without the model's files there are answers computed beforehand"(visit) {
    const page = visit.page;
    await refuse(page, "language.onnx");
    await visit.open(CAVE);
    await page.click("#load");
    await until(page, () => document.getElementById("load-status").innerText.includes("could not be loaded"));
    await beforehand(page);
  },

  async "the definition of a word shows on focus"(visit) {
    const page = await visit.open(BOOK);
    await page.focus("a.term");
    await until(page, () => document.querySelector("[role=tooltip]")?.innerText.trim());
  },

  async "the search of the book finds a word"(visit) {
    const page = await visit.open("search.html?q=latent");
    await page.waitForSelector("#search-results li a[href*='glossary']", { visible: true });
  },
};

// A page by itself: it is whole, it fits, and it is as bright as the reader's system wants it.
export function pageCheck(path, viewport, scheme) {
  return async (visit) => {
    const page = await visit.open(path);
    const told = await page.evaluate(() => ({
      wide: document.documentElement.scrollWidth,
      ground: getComputedStyle(document.body).backgroundColor,
      headings: [...document.querySelectorAll("h1")].filter((one) => one.checkVisibility()).length,
    }));
    assert.ok(told.wide <= viewport.width, `${told.wide} px wide in a window of ${viewport.width} px`);
    assert.equal(told.headings, 1);
    const [red] = told.ground.match(/\d+/g).map(Number);
    assert.equal(red > 127 ? "light" : "dark", scheme, told.ground);
  };
}

export const WAYS = [["light", DESK], ["dark", PHONE]];
