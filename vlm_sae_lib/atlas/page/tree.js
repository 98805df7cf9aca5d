// The tree of what is known, drawn: at each taxon the latents that stand for it. One nested list serves the eye (laid out
// as a tree where there is room), the keyboard and a screen reader.

import { called, cover } from "./data.js";
import { h, percent, picture, svg } from "./dom.js";
import { levelMark, levelOf } from "./levels.js";

const [COLUMN, ROW] = [138, 24];
const ROOM = 260; // leaves that are drawn at once; of a larger tree fewer ranks, and from a taxon on the reader's choice
const MARKS = 5;

export function drawTree(element, { atlas, sae, columns, tree, state, go }) {
  const model = modelOf(tree, sae, state);
  const drawn = layout(model, state.root);
  const levels = sae.groups.length;
  const selected = state.node;
  const list = (parent) => {
    const own = drawn.children(parent);
    return own.length ? h("ul", {}, own.map((node) => h("li", {}, knot(node), list(node)))) : null;
  };
  const knot = (node) => {
    const [x, y] = drawn.at.get(node);
    const lit = model.stand[node].filter((latent) => model.lit(latent.level));
    const more = drawn.cut.has(node) ? ` (${drawn.cut.get(node)} below)` : "";
    const words = `${tree.nodes.name[node]}, ${atlas.ranks[tree.nodes.rank[node]]}: ${lit.length ? lit.map(told).join("; ") : "no latent"}${more}`;
    return h("button", {
      class: `knot${lit.length ? " lit" : ""}${x === drawn.depth ? " last" : ""}`, "aria-pressed": node === selected ? "true" : "false",
      title: words, onclick: () => go({ node }), style: { "--x": `${x * COLUMN}px`, "--y": `${y * ROW}px` },
    }, h("span", { class: "unseen" }, words), h("span", { class: "taxon", "aria-hidden": "true" }, tree.nodes.name[node]),
      h("span", { class: "marks", "aria-hidden": "true" }, lit.slice(0, MARKS).map((latent) => levelMark(latent.level, levels)), lit.length > MARKS ? `+${lit.length - MARKS}` : ""),
      h("span", { class: "much", "aria-hidden": "true" }, best(lit), more));
  };
  const lines = [...drawn.at].map(([node, [x, y]]) => {
    const parent = tree.nodes.parent[node];
    if (!drawn.at.has(parent)) return null;
    const [px, py] = drawn.at.get(parent);
    const lit = model.stand[node].some((latent) => model.lit(latent.level));
    return svg("path", { class: lit ? "lit" : "", d: `M ${px * COLUMN + 6} ${py * ROW + 12} V ${y * ROW + 12} H ${x * COLUMN + 6}` });
  });
  element.replaceChildren(
    h("div", { class: "tree-side" }, choices(model, sae, state, go), beside(atlas, sae, columns, tree, model, state, go)),
    h("div", { class: "tree-scroll", tabindex: "0", role: "group", "aria-label": "taxa" },
      h("p", { class: "ranks", "aria-hidden": "true" }, Array.from({ length: drawn.depth + 1 }, (_, i) => h("span", {}, atlas.ranks[i + drawn.first]))),
      h("div", { class: "tree-canvas", style: { "--wide": `${(drawn.depth + 1) * COLUMN + 110}px`, "--high": `${drawn.rows * ROW + 10}px` } },
        svg("svg", { class: "branches", "aria-hidden": "true", width: (drawn.depth + 1) * COLUMN, height: drawn.rows * ROW + 10 }, lines),
        list(state.root ?? -1))));
}

// Of each taxon the latents that stand for it, the most precise first; those that detect something else better only on wish.
function modelOf(tree, sae, state) {
  const stand = tree.nodes.name.map(() => []);
  const { latent, node, precision, recall, first } = tree.latents;
  for (let i = 0; i < latent.length; i++) {
    if (first[i]) stand[node[i]].push({ latent: latent[i], precision: precision[i], recall: recall[i], level: levelOf(sae.groups, latent[i]) });
  }
  for (const own of stand) own.sort((a, b) => b.precision * b.recall - a.precision * a.recall || a.latent - b.latent);
  const levels = state.levels ? new Set(state.levels) : null;
  const below = stand.map((own) => own.length);
  for (let i = below.length - 1; i >= 0; i--) if (tree.nodes.parent[i] >= 0) below[tree.nodes.parent[i]] += below[i];
  return { tree, stand, below, lit: (level) => !levels || levels.has(level) };
}

function told(latent) {
  return `latent ${latent.latent}, precision ${percent(latent.precision)}, recall ${percent(latent.recall)}`;
}

function best(lit) {
  return lit.length ? ` ${percent(lit[0].precision)} / ${percent(lit[0].recall)}` : "";
}

// Leaves in order, a row each; parents amid their children; so many ranks as there is room for.
function layout({ tree }, root) {
  const children = new Map();
  tree.nodes.parent.forEach((parent, node) => children.set(parent, [...(children.get(parent) ?? []), node]));
  const start = root ?? -1;
  let [shown, deepest] = [children.get(start) ?? [], 0];
  for (let next = shown; next.length; deepest++) {
    next = shown.flatMap((node) => children.get(node) ?? []);
    if (!next.length || next.length > ROOM) break;
    shown = next;
  }
  const [at, cut] = [new Map(), new Map()];
  let rows = 0;
  const place = (node, depth) => {
    const own = depth < deepest ? children.get(node) ?? [] : [];
    if (depth === deepest && children.has(node)) cut.set(node, children.get(node).length);
    const ys = own.map((child) => place(child, depth + 1));
    const y = ys.length ? (ys[0] + ys[ys.length - 1]) / 2 : rows++;
    at.set(node, [depth, y]);
    return y;
  };
  for (const node of children.get(start) ?? []) place(node, 0);
  const first = start < 0 ? 0 : tree.nodes.rank[start] + 1;
  return { at, cut, rows, first, depth: deepest, children: (node) => (children.get(node) ?? []).filter((child) => at.has(child)) };
}

function choices(model, sae, state, go) {
  const all = sae.groups.map((_, level) => level);
  const now = new Set(state.levels ?? all);
  const change = (level, on) => {
    const wish = all.filter((one) => (one === level ? on : now.has(one)));
    go({ levels: wish.length === all.length ? null : wish });
  };
  const levels = all.length > 1
    ? h("fieldset", { class: "levels" }, h("legend", {}, "Matryoshka levels"), all.map((level) => h("label", {},
        h("input", { type: "checkbox", checked: now.has(level), onchange: (event) => change(level, event.target.checked) }), levelMark(level, all.length), ` ${level}`)))
    : null;
  const up = state.root !== null
    ? h("button", { onclick: () => go({ root: model.tree.nodes.parent[state.root] >= 0 ? model.tree.nodes.parent[state.root] : null }) }, "draw one rank further up") : null;
  return h("div", { class: "choices" },
    h("p", { class: "quiet" }, "At each taxon stand the latents that detect it better than anything else, a square each; the numbers are precision and recall of the first."), levels, up);
}

function beside(atlas, sae, columns, tree, model, state, go) {
  const { node } = state;
  if (node === null || node >= model.stand.length) return h("p", {}, "Choose a taxon to see its latents.");
  const own = model.stand[node].filter((latent) => model.lit(latent.level));
  const below = model.below[node] - model.stand[node].length;
  return h("section", { class: "beside", "aria-live": "polite" },
    h("h2", { id: "taxon-title", tabindex: "-1" }, tree.nodes.name[node]),
    h("p", { class: "quiet" }, `${atlas.ranks[tree.nodes.rank[node]]}, on ${tree.nodes.pictures[node].toLocaleString("en")} pictures; ${below} latents stand for something below it`),
    own.length ? h("ol", { class: "neighbours" }, own.map((latent) => h("li", {},
      h("button", { class: "chip", onclick: () => go({ tree: false, latent: latent.latent, with: null }) },
        picture(atlas.pictures, cover(columns, latent.latent), 32), levelMark(latent.level, sae.groups.length),
        h("span", {}, called(columns, latent.latent) || "latent", h("small", {}, ` ${latent.latent}`))),
      h("span", {}, `precision ${percent(latent.precision)}, recall ${percent(latent.recall)}`))))
      : h("p", {}, "No latent stands for it."),
    tree.nodes.rank[node] < atlas.ranks.length - 1 && state.root !== node ? h("button", { onclick: () => go({ root: node }) }, "draw the tree from here") : null);
}
