// The instrument: from the reader's state to the picture, the latents and the answers, always of the newest state.
import { Compose } from "./compose.js";
import { Latents, drawHeat, nameOf } from "./latents.js";
import { odds, parting, say, showOdds } from "./said.js";
import { described, multipleAt, nameOf as sceneName, stepOf } from "./state.js";
import { prepared } from "./upload.js";

const find = (id) => document.getElementById(id);
const ALONG = [-4, -2, -1, 0, 0.5, 1, 2, 4, 8];

export class Desk {
  constructor({ island, facts, words, painter, state }) {
    Object.assign(this, { facts, words, painter, state, client: null, seen: null, before: new Map() });
    this.rows = new Map(facts.named.map((row) => [row.latent, row]));
    this.compose = new Compose(island, (scene) => this.#change({ scene }));
    this.list = new Latents(find("latents"), facts.named, (latent) => this.#change({ latent }));
    find("questions").append(...facts.questions.map((question) => new Option(question, question)));
    this.#listen();
    this.#show();
  }

  // From here on there is a model to ask.
  use(client) {
    this.client = client;
    return this.#refresh();
  }

  // The state has changed from outside, by a link.
  reread() {
    this.#change({});
  }

  #listen() {
    const { questions, directions } = this.facts;
    const on = (id, event, change) => find(id).addEventListener(event, ({ target }) => this.#change(change(target)));
    on("strength", "input", ({ value }) => ({ multiple: multipleAt(Number(value)) }));
    on("keep", "change", ({ checked }) => ({ keepError: checked }));
    on("question", "change", ({ value }) => ({ question: value.trim() || questions[0] }));
    on("another", "click", () => ({ direction: (this.state.direction + 1) % directions.length }));
    on("own", "click", () => ({ question: this.own }));
    on("reset", "click", () => ({ multiple: null }));
    find("question").addEventListener("focus", ({ target }) => target.select());
    find("along").addEventListener("toggle", () => this.#refresh());
    find("where").addEventListener("change", () => this.#heat(this.state));
    for (const id of ["find", "unnamed"])
      find(id).addEventListener("input", () => this.list.narrow(find("find").value, find("unnamed").checked));
    find("upload").addEventListener("change", ({ target }) => this.#upload(target.files[0]));
    find("turn").addEventListener("click", () => {
      find("steering-title").scrollIntoView();
      find("strength").focus({ preventScroll: true });
    });
    find("copy").addEventListener("click", () => this.#copy());
  }

  async #upload(file) {
    if (!file) return;
    try {
      const pixels = await prepared(file, this.facts.side);
      find("upload-says").textContent = "It was brought to 64 × 64 pixels, as the model sees it, and stays on your "
        + "machine. The model knows nothing but its island.";
      this.#change({ scene: { kind: "uploaded", pixels, name: file.name } });
    } catch (error) {
      find("upload-says").textContent = `${error.message}.`;
    }
  }

  async #copy() {
    const done = await navigator.clipboard?.writeText(find("link").href).then(() => true, () => false);
    find("copy").textContent = done ? "copied" : "copy the address above";
    setTimeout(() => (find("copy").textContent = "copy it"), 2000);
  }

  #change(parts) {
    this.moved = performance.now();
    Object.assign(this.state, parts);
    if (this.state.latent === null) this.state.multiple = null;
    this.#show();
    this.#refresh();
  }

  // What needs no model: the controls, the link, the strength in words.
  #show() {
    const { state } = this, row = this.rows.get(state.latent);
    this.compose.show(state.scene);
    if (this.list.latent !== state.latent) this.list.take(state.latent);
    find("strength").value = stepOf(state.multiple);
    find("strength").disabled = state.latent === null;
    find("strength").setAttribute("aria-valuetext", this.stated);
    find("stated").textContent = this.stated;
    find("keep").checked = state.keepError;
    find("question").value = state.question;
    find("along").hidden = find("turn").hidden = state.latent === null;
    find("own").hidden = !this.own || this.own === state.question;
    find("own").textContent = `ask “${this.own}”`;
    const strange = this.words.strange(state.question);
    find("strange").textContent = strange.length ? `The model has never read: ${strange.join(", ")}.` : "";
    find("link").href = state.link;
    find("steering-title").textContent = row ? `What it says, with “${nameOf(row)}”` : "What it says";
    history.replaceState(null, "", state.link);
  }

  // The question that asks for what the latent is called by.
  get own() {
    return this.facts.questionAbout[this.rows.get(this.state.latent)?.about];
  }

  get stated() {
    const { latent, multiple } = this.state;
    if (latent === null) return "take a latent from the list first";
    if (multiple === null) return "unsteered";
    if (multiple === 0) return "held at 0 on every token";
    return `${multiple} × its maximum = ${this.strength.toFixed(1)} on every token`.replaceAll("-", "−");
  }

  get strength() {
    return (this.state.multiple ?? 0) * (this.rows.get(this.state.latent)?.maximum ?? 1);
  }

  // One run at a time; what has changed meanwhile is run after it, once.
  async #refresh() {
    if (this.busy) {
      this.again = true;
      return;
    }
    this.busy = true;
    try {
      do {
        this.again = false;
        await this.#run();
      } while (this.again);
    } catch (error) {
      find("answer").textContent = `This went wrong: ${error.message}.`;
    } finally {
      this.busy = false;
    }
  }

  async #run() {
    const state = { ...this.state }, strength = this.strength, moved = this.moved;
    await this.#look(state);
    if (!this.client || this.again) return;
    this.#heat(state);
    const prompt = this.words.prompt(state.question), { keepError, latent } = state;
    const key = `${state.question}\n${keepError}`;
    if (!this.before.has(key)) this.before.set(key, await this.client.answer({ keepError }, prompt));
    const before = this.before.get(key), steered = state.multiple !== null;
    const after = steered ? await this.client.answer({ latent, strength, keepError }, prompt) : before;
    this.#tell(before, after, moved);
    const direction = this.facts.directions[state.direction];
    if (this.again) return;
    const control = steered ? await this.client.answer({ latent, strength, keepError, direction }, prompt) : before;
    say(find("control"), this.#words(control), this.#words(before));
    document.documentElement.dataset.settled = String(Number(document.documentElement.dataset.settled ?? 0) + 1);
    if (find("along").open && latent !== null) await this.#along(state, prompt, before);
  }

  // The answers at strengths over the whole slider, until the reader moves on; the slider itself changes none of them.
  async #along({ latent, keepError }, prompt, before) {
    const body = find("along").querySelector("tbody");
    const key = JSON.stringify([latent, keepError, prompt, this.seen.count]);
    if (body.dataset.key === key) return;
    body.replaceChildren();
    for (const multiple of ALONG) {
      const strength = multiple * this.rows.get(latent).maximum;
      const answer = await this.client.answer({ latent, strength, keepError }, prompt);
      if (this.again) return;
      const row = body.insertRow(), button = document.createElement("button"), text = document.createElement("span");
      Object.assign(button, { type: "button", textContent: `${multiple} ×`.replace("-", "−") });
      button.addEventListener("click", () => this.#change({ multiple }));
      say(text, this.#words(answer), this.#words(before));
      row.insertCell().append(button);
      row.insertCell().append(text);
    }
    body.dataset.key = key;
  }

  // Paints the picture, and has the model look at it, unless it has.
  async #look({ scene }) {
    const key = scene.kind === "uploaded" ? scene.pixels : sceneName(this.painter.island, scene);
    if (this.seen?.key !== key) {
      const pixels = scene.pixels ?? (await this.painter.paint(scene));
      this.seen = { key, pixels, latents: null, count: (this.seen?.count ?? 0) + 1 };
      this.before.clear();
      paintOn(find("picture"), pixels, this.facts.side);
      find("picture").setAttribute("aria-label", described(this.painter.island, scene));
    }
    if (this.client && !this.seen.latents) {
      this.seen.latents = await this.client.see(this.seen.pixels);
      this.list.look(this.seen.latents, this.facts.latents);
    }
  }

  #heat({ latent }) {
    if (!this.seen?.latents) return;
    const row = this.rows.get(latent), heat = find("heat");
    heat.hidden = !row || !find("where").checked;
    if (!row) return (find("heat-says").textContent = "Take a latent to see where on the picture it fires.");
    const patches = heat.width * heat.height;
    const firing = drawHeat(heat, this.seen.latents, this.facts.latents, latent, row.maximum);
    find("heat-says").textContent = `“${nameOf(row)}” fires on ${firing} of ${patches} patches.`;
  }

  #words({ words }) {
    return words.map((number) => this.words.vocabulary[number]);
  }

  #tell(before, after, moved) {
    const [old, now] = [this.#words(before), this.#words(after)];
    say(find("answer"), now, old);
    say(find("before"), old);
    const place = parting(old, now);
    const name = (i) => (i === this.words.end ? "(end)" : this.words.vocabulary[i]);
    const read = now.slice(0, place).join(" ");
    find("odds-title").textContent = place ? `The next word, after “${read}”` : "The first word";
    showOdds(find("odds").tBodies[0], name, odds(before.scores[place]), odds(after.scores[place]));
    const took = performance.now() - moved;
    find("took").textContent = moved ? `Answered in ${Math.round(took)} ms, on one core of this machine.` : "";
    find("took").dataset.milliseconds = took;
  }
}

function paintOn(canvas, pixels, side) {
  const image = new ImageData(side, side);
  for (let i = 0; i < side * side; i++) image.data.set([...pixels.subarray(3 * i, 3 * i + 3), 255], 4 * i);
  canvas.getContext("2d").putImageData(image, 0, 0);
}
