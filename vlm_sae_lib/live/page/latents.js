// The list of latents: those that find their concept in the picture, those that fire less, and the silent ones.
const SHOWN = 12;

export class Latents {
  // named: rows of the page's facts; chosen(latent) is told when the reader takes one.
  constructor(element, named, chosen) {
    Object.assign(this, { element, named, chosen, latent: null, filter: "", all: false });
    Object.assign(this, { pooled: new Map(), opened: new Set() });
    element.addEventListener("change", ({ target }) => {
      this.latent = Number(target.value);
      chosen(this.latent);
    });
    this.draw();
  }

  // latents: of every token, the class token's first; null where the model has not looked.
  look(latents, width) {
    this.pooled.clear();
    for (const { latent, pooling } of this.named) {
      let largest = 0, sum = 0;
      for (let at = latent; at < latents.length; at += width) {
        largest = Math.max(largest, latents[at]);
        sum += latents[at];
      }
      this.pooled.set(latent, pooling === "mean" ? (sum * width) / latents.length : largest);
    }
    this.draw();
  }

  narrow(filter, all) {
    Object.assign(this, { filter: filter.trim().toLowerCase(), all });
    this.draw();
  }

  take(latent) {
    this.latent = latent;
    this.draw();
  }

  draw() {
    const focused = this.element.contains(document.activeElement);
    const found = this.named.filter((row) => this.#fits(row));
    const taken = this.named.filter(({ latent }) => latent === this.latent);
    const value = ({ latent }) => this.pooled.get(latent) ?? 0;
    const yes = found.filter((row) => value(row) >= row.threshold);
    const less = found.filter((row) => value(row) > 0 && value(row) < row.threshold);
    const silent = found.filter((row) => value(row) === 0);
    yes.sort((a, b) => b.f1 - a.f1 || a.latent - b.latent);
    inTurn(yes);
    less.sort((a, b) => value(b) / b.top - value(a) / a.top);
    silent.sort((a, b) => b.writes - b.by_force - (a.writes - a.by_force) || a.latent - b.latent);
    const last = this.pooled.size ? "silent here, by what they write" : "by what they write";
    const groups = [["taken", taken], ["say yes to this picture", yes], ["fire, but less", less], [last, silent]];
    this.element.replaceChildren(...groups.filter(([, rows]) => rows.length).map((group) => this.#group(...group)));
    if (!found.length && !taken.length) this.element.textContent = "No latent is called that.";
    const checked = this.element.querySelector("input:checked");
    if (focused) (checked ?? this.element.querySelector("input"))?.focus({ preventScroll: true });
  }

  #fits(row) {
    if (row.latent === this.latent) return false; // stands by itself
    if (/^\d+$/.test(this.filter)) return row.latent === Number(this.filter);
    return (row.named || this.all) && `${row.about} ${row.value}`.includes(this.filter);
  }

  #group(title, rows) {
    const group = document.createElement("div"), head = document.createElement("h3");
    head.textContent = title;
    const open = this.opened.has(title) || this.filter;
    const shown = open ? rows : rows.slice(0, SHOWN);
    group.append(head, ...shown.map((row) => this.#row(row)));
    if (shown.length < rows.length) {
      const more = document.createElement("button");
      more.type = "button";
      more.textContent = `${rows.length - shown.length} more`;
      more.addEventListener("click", () => {
        this.opened.add(title);
        this.draw();
        this.element.querySelectorAll(`[data-group="${title}"] input`)[SHOWN]?.focus();
      });
      group.append(more);
    }
    group.dataset.group = title;
    return group;
  }

  #row(row) {
    const label = document.createElement("label"), input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "latent", value: row.latent, checked: row.latent === this.latent });
    const [name, what, bar] = ["span", "span", "meter"].map((tag) => document.createElement(tag));
    name.className = "name";
    name.textContent = nameOf(row);
    what.className = "what";
    const share = (this.pooled.get(row.latent) ?? 0) / row.top, percent = (part) => `${Math.round(100 * part)} %`;
    what.textContent = share > 0
      ? `${share > 1 ? "above" : `${percent(share)} of`} its most · F1 ${row.f1.toFixed(2)}`
      : `writes it on ${percent(row.writes)}, by force ${percent(row.by_force)}`;
    bar.value = share > 0 ? share : row.writes;
    bar.className = share > 0 ? "fires" : "writes";
    bar.setAttribute("aria-hidden", "true");
    label.append(input, name, bar, what);
    return label;
  }
}

// The first of each name, then the second of each, so that many of one name do not hide the others.
function inTurn(rows) {
  const met = new Map(), turn = new Map();
  for (const row of rows) {
    const name = `${row.about} ${row.value}`;
    turn.set(row, met.get(name) ?? 0);
    met.set(name, turn.get(row) + 1);
  }
  rows.sort((a, b) => turn.get(a) - turn.get(b));
}

export const nameOf = ({ latent, about, value, named }) =>
  named ? `${value} · ${about} · ${latent}` : `unclear (nearest: ${value}) · ${latent}`;

// The latent's value on each patch, over the picture. latents: as of `look`; a patch at the maximum is covered most.
export function drawHeat(canvas, latents, width, latent, maximum) {
  const pen = canvas.getContext("2d"), side = canvas.width, colour = getComputedStyle(canvas).color;
  pen.clearRect(0, 0, side, side);
  let firing = 0;
  for (let patch = 0; patch < side * side; patch++) {
    const value = latents[(patch + 1) * width + latent];
    if (value > 0) firing++;
    pen.globalAlpha = Math.min(1, Math.max(0, value / maximum)) * 0.7;
    pen.fillStyle = colour;
    pen.fillRect(patch % side, Math.floor(patch / side), 1, 1);
  }
  pen.globalAlpha = 1;
  return firing;
}
