// The page: what the address says is shown, and whatever the reader does changes the address.

import { called, load, loadColumn, loadLatent } from "./data.js";
import { h } from "./dom.js";
import { example, READS } from "./example.js";
import { Grid } from "./grid.js";
import { menus } from "./menus.js";
import { panel } from "./panel.js";
import { chosen } from "./rows.js";
import { addressOf, readState } from "./state.js";
import { drawTree } from "./tree.js";

const at = (id) => document.getElementById(id);
const columnsOf = new Map(); // by autoencoder the columns that are loaded, by name
let atlas, state, grid;
let turn = 0;
let first = null; // the latent that is shown to who comes without a wish, and by which rule
let decided = false; // whether the reader has opened or closed a latent: then it is shown no more

async function start() {
  atlas = await load("atlas.json");
  at("title").textContent = atlas.title;
  document.title = atlas.title;
  if (atlas.book && ["http:", "https:", "file:"].includes(new URL(atlas.book, location.href).protocol)) {
    at("book").href = atlas.book;
    at("book").hidden = false;
  }
  at("sae").replaceChildren(...atlas.saes.map((sae) => h("option", { value: sae.key }, sae.title)));
  at("sae").parentElement.hidden = atlas.saes.length < 2;
  at("sae").addEventListener("change", () => go({ sae: at("sae").value, latent: null, with: null, node: null, root: null, levels: null, filters: {} }));
  at("to-list").addEventListener("click", (event) => follow(event, { tree: false }));
  at("to-tree").addEventListener("click", (event) => follow(event, { tree: true }));
  grid = new Grid(at("grid"), { open: (latent, byKey) => opened(latent, byKey), sort: sortBy });
  at("search").addEventListener("input", () => go({ q: at("search").value }, { replace: true }));
  document.addEventListener("keydown", keys);
  window.addEventListener("hashchange", show);
  if (!location.hash) first = example(await loaded(atlas.saes[0], atlas.saes[0].columns.filter((one) => READS.includes(one.name))));
  await show();
}

function go(change, { replace = false } = {}) {
  const before = location.hash;
  const address = addressOf({ ...state, ...change });
  if ("latent" in change) decided = true;
  if (address === before) return void (state.first && "latent" in change && show());
  history[replace ? "replaceState" : "pushState"](null, "", address);
  show();
}

function follow(event, change) {
  event.preventDefault();
  go(change);
}

// Draws what the address says; a later call overtakes one that still waits for its files.
async function show() {
  const mine = ++turn;
  document.body.toggleAttribute("data-shown", false);
  const asked = readState();
  const sae = atlas.saes.find((one) => one.key === asked.sae) ?? atlas.saes[0];
  state = { ...asked, sae: sae.key, latent: within(sae, asked.latent), with: within(sae, asked.with) };
  // It is no part of the address, so that a link to a search stays one; going back to the bare address brings it back.
  state.first = state.latent === null && !state.tree && sae === atlas.saes[0] && (!decided || !location.hash) ? first : null;
  const opened = state.tree ? [] : [state.latent ?? state.first?.latent ?? null, state.with].filter((latent) => latent !== null);
  const needed = sae.columns.filter((one) => opened.length || isShown(one) || one.name in state.filters || one.name === state.sort?.column || one.kind === "word");
  try {
    const columns = await loaded(sae, needed);
    const tree = sae.tree && (state.tree || opened.length) ? await load(`${sae.key}/tree.json`) : null;
    const found = await Promise.all(opened.map((latent) => loadLatent(sae, latent)));
    if (mine !== turn) return;
    at("trouble").hidden = true;
    frame(sae);
    if (state.tree && tree) drawTree(at("tree"), { atlas, sae, columns: ordered(sae, columns), tree, state, go });
    else list(sae, ordered(sae, columns), found, tree);
    document.body.toggleAttribute("data-shown", true);
  } catch (error) {
    at("trouble").textContent = `Something could not be loaded: ${error.message}. Is the atlas opened from a file server, and whole?`;
    at("trouble").hidden = false;
  }
}

async function loaded(sae, needed) {
  const columns = columnsOf.get(sae.key) ?? new Map();
  columnsOf.set(sae.key, columns);
  await Promise.all(needed.filter((one) => !columns.has(one.name)).map(async (one) => columns.set(one.name, await loadColumn(sae, one))));
  return columns;
}

function frame(sae) {
  const tree = state.tree && sae.tree;
  at("sae").value = sae.key;
  at("sentence").textContent = sae.sentence;
  at("to-list").setAttribute("href", addressOf({ ...state, tree: false }));
  at("to-tree").setAttribute("href", addressOf({ ...state, tree: true }));
  at("to-tree").hidden = at("to-list").hidden = !sae.tree;
  at(tree ? "to-tree" : "to-list").setAttribute("aria-current", "page");
  at(tree ? "to-list" : "to-tree").removeAttribute("aria-current");
  at("tree").hidden = !tree;
  at("list").hidden = at("panels").hidden = tree;
}

let rows = { key: "", latents: new Uint32Array() };

function list(sae, columns, found, tree) {
  if (document.activeElement !== at("search")) at("search").value = state.q;
  const key = JSON.stringify([sae.key, state.q, state.filters, state.sort]);
  if (rows.key !== key) rows = { key, latents: chosen(sae.latents, columns, state.q, state.filters, state.sort, sae.pictures) };
  at("count").textContent = rows.latents.length === sae.latents ? `${sae.latents.toLocaleString("en")} latents` : `${rows.latents.length.toLocaleString("en")} of ${sae.latents.toLocaleString("en")} latents`;
  menus(at("filters"), at("columns"), { sae, state, isShown, go });
  const shown = sae.columns.filter(isShown).map((one) => columns.get(one.name));
  grid.show({ columns: shown, latents: rows.latents, pictures: sae.pictures, sheets: atlas.pictures, sorted: state.sort ?? { column: "latent" }, opened: found.map((one) => one.latent), at: state.latent });
  const panels = found.map((one, i) => panel({ atlas, sae, columns, found: { ...one, with: state.with }, tree, go, role: i ? "second" : "first" }));
  at("panels").replaceChildren(...(panels.length && !state.first ? [] : [invitation(sae)]), ...panels);
  document.body.classList.toggle("comparing", panels.length > 1);
  document.body.classList.toggle("reading", panels.length > 0);
  document.title = panels.length && !state.first ? `${found.map((one) => `${called(columns, one.latent)} ${one.latent}`.trim()).join(" and ")} · ${atlas.title}` : atlas.title;
}

function invitation(sae) {
  return h("p", { class: "invitation" }, "Open a latent to see its pictures, what it detects, and its neighbours. ",
    h("span", { class: "keys" }, "By keyboard: / searches, arrows move in the list, Enter opens, Escape closes."), h("br"),
    state.first ? [`To begin with: ${state.first.words}.`, h("br")] : null,
    `${sae.silent.toLocaleString("en")} of ${sae.latents.toLocaleString("en")} latents are silent on all ${sae.pictures.toLocaleString("en")} pictures.`);
}

// Loaded columns in the order of the table, not of their arrival.
function ordered(sae, columns) {
  return new Map(sae.columns.filter((one) => columns.has(one.name)).map((one) => [one.name, columns.get(one.name)]));
}

function isShown(column) {
  return state.shown ? state.shown.includes(column.name) : column.shown;
}

async function opened(latent, byKey) {
  go({ latent, with: state.with === latent ? null : state.with });
  if (byKey || matchMedia("(max-width: 900px)").matches) {
    const title = await waitFor(() => (state.latent === latent ? at("first-title") : null));
    title?.focus();
  }
}

async function waitFor(find) {
  for (let tries = 0; tries < 100; tries++) {
    const found = find();
    if (found && document.title.includes(String(state.latent))) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return null;
}

// A click on a column's head: its large values first, then its small ones, then the latents' own order.
function sortBy(column) {
  const { sort } = state;
  const words = atlas.saes.find((one) => one.key === state.sae).columns.find((one) => one.name === column)?.kind === "word";
  const first = { column, down: !words && column !== "latent" };
  if (sort?.column !== column) go({ sort: first });
  else go({ sort: sort.down === first.down ? { column, down: !first.down } : null });
}

function keys(event) {
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !state.tree) {
    event.preventDefault();
    at("search").focus();
    at("search").select();
  } else if (event.key === "Escape" && !state.tree) {
    document.querySelectorAll("details[open]").forEach((one) => (one.open = false));
    if (!typing && (state.latent !== null || state.first)) go(state.with === null ? { latent: null } : { with: null });
    at("grid").focus();
  } else if (event.key === "Enter" && event.target === at("search")) {
    at("grid").focus();
  }
}

function within(sae, latent) {
  return latent !== null && latent < sae.latents ? latent : null;
}

start().catch((error) => {
  at("trouble").textContent = `The atlas could not be opened: ${error.message}. Open it from a file server, such as python -m http.server.`;
  at("trouble").hidden = false;
});
