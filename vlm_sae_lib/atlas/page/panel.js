// One latent, whole: its numbers, pictures, activations, what it detects, what steering with it does, its neighbours.

import { called, cover } from "./data.js";
import { doseCurve, histogram } from "./charts.js";
import { h, number, percent, picture, short } from "./dom.js";
import { levelMark, levelOf } from "./levels.js";

// atlas: what atlas.json says; columns: those that are loaded; found: of loadLatent; go: follows a change of the address.
export function panel({ atlas, sae, columns, found, tree, go, role }) {
  const { latent } = found;
  const name = called(columns, latent);
  const sections = [facts(sae, columns, found), tops(atlas, found), activations(atlas, sae, found), detects(found, tree, go)];
  if (found.steering) sections.push(steering(atlas, sae, found));
  sections.push(neighbours(atlas, sae, columns, found, go));
  return h("article", { class: "panel", "aria-labelledby": `${role}-title` },
    h("div", { class: "panel-head" },
      h("h2", { id: `${role}-title`, tabindex: "-1" }, name || `latent ${latent}`),
      h("p", {}, `latent ${latent}`, level(sae, latent)),
      h("div", { class: "buttons" },
        h("button", { onclick: (event) => copyLink(event.currentTarget, sae, latent) }, "copy link"),
        h("button", { onclick: () => go(role === "first" ? { latent: found.with ?? null, with: null } : { with: null }), "aria-label": `close latent ${latent}` }, "close"))),
    sections);
}

function level(sae, latent) {
  if (sae.groups.length < 2) return null;
  const group = levelOf(sae.groups, latent);
  return h("span", { class: "level" }, " · ", levelMark(group, sae.groups.length), ` level ${group}`);
}

async function copyLink(button, sae, latent) {
  const link = new URL(`#sae=${encodeURIComponent(sae.key)}&latent=${latent}`, location.href).href;
  try {
    await navigator.clipboard.writeText(link);
    button.textContent = "copied";
  } catch {
    button.textContent = "it is in the address bar";
  }
  setTimeout(() => (button.textContent = "copy link"), 2000);
}

function section(title, ...inside) {
  return h("section", {}, h("h3", {}, title), inside);
}

function facts(sae, columns, found) {
  const rows = [];
  for (const column of columns.values()) {
    if (["picture", "word"].includes(column.kind) || ["level", "precision", "recall", "f1"].includes(column.name)) continue;
    const value = column.values[found.latent];
    const text = column.kind === "rate" ? `${percent(value / sae.pictures, 1)}` : column.name === "maximum" ? short(value) : number(value, column.digits);
    rows.push(h("div", { title: column.meaning }, h("dt", {}, column.title), h("dd", {}, text)));
  }
  const name = columns.get("name");
  const how = name && name.codes[found.latent] >= 0 && found.named_by < 16
    ? h("p", { class: "quiet" }, `The name rests on ${found.named_by} pictures only.`) : null;
  return h("div", {}, h("dl", { class: "facts" }, rows), how);
}

function tops(atlas, found) {
  if (!found.top.length) return section("Top pictures", h("p", { class: "quiet" }, "It is active on no picture."));
  const list = found.top.map(([place, value]) => {
    const [id, words] = found.pictures[place];
    return h("li", {}, picture(atlas.pictures, place, null, words || `picture ${id}`), h("span", {}, short(value)));
  });
  return section("Top pictures", h("ol", { class: "tops" }, list));
}

function activations(atlas, sae, found) {
  return section("Activations", histogram(found.histogram, atlas.edges, sae.pictures));
}

function detects(found, tree, go) {
  if (!found.detects.length) {
    return section("What it detects", h("p", { class: "quiet" }, "Nothing that is known of the pictures, better than always saying yes would."));
  }
  const rows = found.detects.map(([factor, value, precision, recall, f1, node, share]) => h("tr", {},
    h("th", { scope: "row" }, h("small", {}, factor), " ", value), h("td", {}, percent(precision)), h("td", {}, percent(recall)),
    h("td", {}, number(f1, 2)), h("td", {}, percent(share, 1))));
  const place = found.detects.find((one) => one[5] !== null);
  return section("What it detects",
    h("table", {}, h("thead", {}, h("tr", {}, ["", "precision", "recall", "F1", "of all pictures"].map((title) => title ? h("th", { scope: "col" }, title) : h("td", {})))), h("tbody", {}, rows)),
    place && tree ? path(place[5], tree, go) : null);
}

function path(node, tree, go) {
  const steps = [];
  for (let at = node; at >= 0; at = tree.nodes.parent[at]) steps.unshift(at);
  return h("p", { class: "path" }, "best taxon: ", steps.map((at, i) => [i ? " › " : "", h("button", { class: "link", onclick: () => go({ tree: true, node: at }) }, tree.nodes.name[at])]).flat());
}

function steering(atlas, sae, found) {
  const told = found.steering;
  if (told.why) return section("Steering", h("p", { class: "quiet" }, told.why));
  const { doses, before, pictures, prompt } = sae.steering;
  const list = h("ul", { class: "answers" });
  const output = h("output", {});
  const show = (place) => {
    output.textContent = place ? `${doses[place - 1]} × its largest value` : "not turned up";
    range.setAttribute("aria-valuetext", output.textContent);
    const said = place ? told.captions[place - 1] : before;
    list.replaceChildren(...said.map((text, i) => h("li", {}, picture(atlas.pictures, pictures[i], 56), h("span", { class: text === before[i] ? "same" : null }, text || "(says nothing)"))));
  };
  const usual = 1 + Math.max(0, doses.findIndex((dose) => dose >= 1));
  const range = h("input", { type: "range", min: 0, max: doses.length, value: usual, "aria-label": "how far it is turned up", oninput: () => show(Number(range.value)) });
  show(usual);
  return section("Steering",
    h("p", {}, `Turned up on every token while the model is asked about ${told.lacking} pictures without `, h("b", {}, told.concept), ` (${told.about}):`),
    doseCurve(told, doses),
    h("p", { class: "dose" }, h("label", {}, range, " "), output),
    h("p", { class: "quiet" }, `asked: ${prompt}`), h("div", { "aria-live": "polite" }, list), byHand(atlas, sae, found.latent));
}

// A link to the page where the reader turns this very latent.
function byHand(atlas, sae, latent) {
  if (atlas.live?.sae !== sae.key || !atlas.live.latents.includes(latent)) return null;
  return h("p", {}, h("a", { href: `${atlas.live.address}#latent=${latent}&strength=1` }, "Turn it yourself on the live page"));
}

function neighbours(atlas, sae, columns, found, go) {
  const lists = [["by decoder direction", "near", "cosine"], ["by firing together", "together", "Jaccard"]].map(([title, key, unit]) =>
    h("div", {}, h("h4", {}, title), found[key].length ? h("ol", { class: "neighbours" }, found[key].map(([other, likeness]) =>
      h("li", {},
        h("button", { class: "chip", onclick: () => go({ latent: other }) },
          picture(atlas.pictures, cover(columns, other), 32), h("span", {}, called(columns, other) || "latent", h("small", {}, ` ${other}`))),
        h("span", { title: unit }, number(likeness, 2)),
        h("button", { class: "link", onclick: () => go({ latent: found.latent, with: other }), "aria-label": `compare with latent ${other}` }, "compare"))))
      : h("p", { class: "quiet" }, "None.")));
  return section("Nearest latents", h("div", { class: "two" }, lists));
}
