// The controls that compose a picture, and what they show of a scene.
import { organism, speciesOf } from "./state.js";

const NAMES = ["species", "family", "colour", "pattern", "habitat", "size", "view"];
const NOBODY = "nobody", BLANK = "a blank page", NONE = "lives nowhere";

export class Compose {
  // changed(scene) is told when the reader composes another picture.
  constructor(island, changed) {
    this.island = island;
    this.controls = Object.fromEntries(NAMES.map((name) => [name, document.getElementById(name)]));
    const { species, family, view } = this.controls;
    species.append(new Option(NOBODY), new Option(BLANK), new Option(NONE));
    for (const [order, members] of grouped(island.species, "order")) species.append(group(order, members));
    for (const [order, members] of grouped(island.families, "order")) family.append(group(order, members));
    const values = { colour: island.colours, pattern: island.patterns, habitat: island.habitats, size: island.sizes };
    for (const [name, words] of Object.entries(values))
      this.controls[name].append(...words.map((word) => new Option(word)));
    view.append(...island.views.map((_, i) => new Option(i + 1, i)));
    for (const [name, control] of Object.entries(this.controls))
      control.addEventListener("change", () => changed(this.#scene(name)));
    document.getElementById("surprise").addEventListener("click", () => changed(this.#surprise()));
  }

  show(scene) {
    const { species, family, colour, pattern, habitat, size, view } = this.controls;
    const known = scene.kind === "organism" && speciesOf(this.island, scene);
    const title = { nobody: NOBODY, blank: BLANK, uploaded: NONE }[scene.kind];
    species.value = title ?? known?.name ?? NONE;
    if (scene.kind === "organism") Object.assign(family, { value: scene.family });
    for (const [name, control] of Object.entries({ colour, pattern, habitat, size, view }))
      if (scene[name] !== undefined) control.value = scene[name];
    species.querySelector("option:nth-of-type(3)").hidden = Boolean(known) || scene.kind !== "organism";
    for (const control of [family, colour, pattern, size]) control.disabled = ["nobody", "blank"].includes(scene.kind);
    for (const control of [habitat, view]) control.disabled = scene.kind === "blank";
    document.getElementById("lives-nowhere").textContent = scene.kind === "organism" && !known
      ? "Nothing on the island looks like this: the model has never seen one." : "";
  }

  #scene(by) {
    const { species, family, colour, pattern, habitat, size, view } = this.controls;
    const rest = { habitat: habitat.value, size: size.value, view: Number(view.value) };
    if (species.value === BLANK) return { kind: "blank" };
    if (species.value === NOBODY) return { kind: "nobody", habitat: rest.habitat, view: rest.view };
    const known = by === "species" && this.island.species.find(({ name }) => name === species.value);
    return organism(this.island, known || { family: family.value, colour: colour.value, pattern: pattern.value }, rest);
  }

  #surprise() {
    const { species, habitats, sizes, views } = this.island;
    const one = (list) => list[Math.floor(Math.random() * list.length)];
    const rest = { habitat: one(habitats), size: one(sizes), view: one([...views.keys()]) };
    return organism(this.island, one(species), rest);
  }
}

function grouped(rows, by) {
  const groups = new Map();
  for (const row of rows) groups.set(row[by], [...(groups.get(row[by]) ?? []), row]);
  return groups;
}

function group(label, rows) {
  const element = document.createElement("optgroup");
  element.label = label;
  element.append(...rows.map(({ name }) => new Option(name)));
  return element;
}
