// Matryoshka levels have one colour each, from the outermost on, and their number in words beside it.

import { h } from "./dom.js";

export function levelMark(level, levels) {
  return h("span", { class: "mark", "aria-hidden": "true", style: { "--place": levels > 1 ? level / (levels - 1) : 0 } });
}

export function levelOf(groups, latent) {
  let [level, end] = [0, groups[0]];
  while (latent >= end && level + 1 < groups.length) end += groups[++level];
  return level;
}
