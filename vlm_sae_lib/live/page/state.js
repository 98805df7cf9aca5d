// What the reader has chosen, and the link that says so. Whatever a link asks for and is not there is left out.
const QUARTERS = 4; // steps of the slider for one maximum of a latent
export const REACH = 32; // steps to either side of its middle

// The slider's middle leaves the model unsteered; one step to the left holds the latent at 0, further ones below it.
export const multipleAt = (step) => (step === 0 ? null : step > 0 ? step / QUARTERS : (step + 1) / QUARTERS);
export const stepOf = (multiple) =>
  multiple === null ? 0 : multiple > 0 ? multiple * QUARTERS : multiple * QUARTERS - 1;

export class State {
  constructor(island, facts) {
    Object.assign(this, { island, facts });
    this.read("");
  }

  // All of the state: what a link does not tell is as it was when the page was opened, but for a picture of the reader's.
  read(hash) {
    const asked = new URLSearchParams(hash.replace(/^#/, ""));
    this.scene = sceneOf(this.island, asked.get("picture") ?? "") ?? this.#otherwise();
    const latent = whole(asked.get("latent"), 0, this.facts.latents - 1);
    this.latent = this.facts.named.some((row) => row.latent === latent) ? latent : null;
    const multiple = Number.parseFloat(asked.get("strength") ?? "");
    const step = Math.max(-REACH, Math.min(REACH, Math.round(stepOf(Number.isFinite(multiple) ? multiple : null))));
    this.multiple = this.latent === null ? null : multipleAt(step);
    this.question = (asked.get("question") ?? this.facts.questions[0]).slice(0, 200);
    this.keepError = asked.get("keep") === "yes";
    this.direction = whole(asked.get("direction"), 0, this.facts.directions.length - 1) ?? 0;
  }

  #otherwise() {
    if (this.scene?.kind === "uploaded") return this.scene;
    return sceneOf(this.island, "ruby-dotshell") ?? organism(this.island, this.island.species[0]);
  }

  get link() {
    const said = new URLSearchParams();
    if (this.scene.kind !== "uploaded") said.set("picture", nameOf(this.island, this.scene));
    if (this.latent !== null) said.set("latent", this.latent);
    if (this.multiple !== null) said.set("strength", this.multiple);
    if (this.question !== this.facts.questions[0]) said.set("question", this.question);
    if (this.keepError) said.set("keep", "yes");
    if (this.direction) said.set("direction", this.direction);
    return `#${said.toString().replaceAll("%2C", ",")}`;
  }
}

function whole(text, least, most) {
  const number = /^\d{1,6}$/.test(text ?? "") ? Number(text) : NaN;
  return number >= least && number <= most ? number : null;
}

export function organism(island, species, rest = {}) {
  const { family, colour, pattern } = species;
  const where = { habitat: island.habitats[0], size: island.sizes[1], view: 0, ...rest };
  return { kind: "organism", family, colour, pattern, ...where };
}

// The species that has these traits; undefined for an organism that lives nowhere on the island.
export const speciesOf = (island, { family, colour, pattern }) =>
  island.species.find((one) => one.family === family && one.colour === colour && one.pattern === pattern);

// "blank"; "nobody,meadow,2"; a species or "family.colour.pattern", then habitat, size and view, counted from 1. Only
// the first word is needed.
export function sceneOf(island, text) {
  const words = text.split(",").filter(Boolean), [what = ""] = words;
  const among = (list, otherwise) => list.find((word) => words.includes(word)) ?? otherwise;
  const view = (whole(words.find((word) => /^\d+$/.test(word)), 1, island.views.length) ?? 1) - 1;
  const { habitats, sizes } = island;
  const rest = { habitat: among(habitats, habitats[0]), size: among(sizes, sizes[1]), view };
  if (what === "blank") return { kind: "blank" };
  if (what === "nobody") return { kind: "nobody", habitat: rest.habitat, view };
  const known = island.species.find(({ name }) => name === what);
  if (known) return organism(island, known, rest);
  const [family, colour, pattern] = what.split(".");
  const there = island.families.some(({ name }) => name === family);
  if (!there || !island.colours.includes(colour) || !island.patterns.includes(pattern)) return null;
  return organism(island, { family, colour, pattern }, rest);
}

export function nameOf(island, scene) {
  if (scene.kind === "blank") return "blank";
  if (scene.kind === "nobody") return `nobody,${scene.habitat},${scene.view + 1}`;
  const what = speciesOf(island, scene)?.name ?? `${scene.family}.${scene.colour}.${scene.pattern}`;
  return `${what},${scene.habitat},${scene.size},${scene.view + 1}`;
}

// For a reader who does not see the picture.
export function described(island, scene) {
  if (scene.kind === "uploaded") return "your picture";
  if (scene.kind === "blank") return "a blank page";
  if (scene.kind === "nobody") return `the ${scene.habitat} with nobody in it`;
  const order = island.families.find(({ name }) => name === scene.family).order;
  return `a ${scene.size} ${scene.colour} ${scene.pattern} ${order} in the ${scene.habitat}`;
}
