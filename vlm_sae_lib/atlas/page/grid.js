// The table: only the rows in sight are in the page, however many there are.

import { h, number, percent, picture } from "./dom.js";

const ROW = 40;
const SPARE = 6;

export class Grid {
  constructor(element, { open, sort }) {
    Object.assign(this, { element, open, sort, rows: [], active: 0, columns: [] });
    this.head = h("div", { role: "rowgroup", class: "head" });
    this.body = h("div", { role: "rowgroup", class: "body" });
    element.append(this.head, this.body);
    element.addEventListener("scroll", () => this.soon(), { passive: true });
    element.addEventListener("keydown", (event) => this.key(event));
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest("[data-place]");
      if (row) this.openAt(Number(row.dataset.place));
    });
    new ResizeObserver(() => this.soon()).observe(element);
  }

  // columns: those to show. latents: numbers in order. opened: those in the panels. at: the one that is scrolled to.
  show({ columns, latents, pictures, sheets, sorted, opened, at }) {
    const changed = latents !== this.rows;
    Object.assign(this, { columns, rows: latents, pictures, sheets, sorted, opened });
    this.element.setAttribute("aria-rowcount", latents.length + 1);
    this.element.setAttribute("aria-colcount", columns.length + 1);
    this.element.style.setProperty("--columns", ["4.2rem", ...columns.map((column) => (column.kind === "word" ? `minmax(${width(column)}rem, 1fr)` : `${width(column)}rem`))].join(" "));
    this.element.style.setProperty("--least", `${columns.reduce((sum, column) => sum + width(column), 4.2)}rem`);
    this.body.style.height = `${latents.length * ROW}px`;
    this.drawHead();
    if (changed) {
      this.active = Math.max(0, latents.indexOf(at ?? -1));
      this.reveal();
    }
    this.draw();
  }

  drawHead() {
    const cells = [{ name: "latent", title: "latent", meaning: "its number", kind: "count" }, ...this.columns].map((column, i) => {
      const own = this.sorted?.column === column.name;
      const direction = own ? (this.sorted.down ? "descending" : "ascending") : "none";
      const mark = own ? h("span", { "aria-hidden": "true" }, this.sorted.down ? " ↓" : " ↑") : null;
      const inside = column.kind === "picture" ? h("span", { class: "unseen" }, column.title)
        : h("button", { title: `${column.title}: ${column.meaning}`, tabindex: "-1", onclick: () => this.sort(column.name) }, column.title, mark);
      return h("div", { role: "columnheader", class: `is-${column.kind}`, "aria-colindex": i + 1, "aria-sort": column.kind === "picture" ? null : direction }, inside);
    });
    this.head.replaceChildren(h("div", { role: "row", class: "row", "aria-rowindex": 1 }, cells));
  }

  soon() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      this.draw();
    });
  }

  draw() {
    const top = this.element.scrollTop;
    const first = Math.max(0, Math.floor(top / ROW) - SPARE);
    const last = Math.min(this.rows.length, Math.ceil((top + this.element.clientHeight) / ROW) + SPARE);
    const drawn = [];
    for (let place = first; place < last; place++) drawn.push(this.row(place));
    if (this.rows.length) this.body.replaceChildren(...drawn);
    else this.body.replaceChildren(h("div", { role: "row", class: "row none" }, h("div", { role: "gridcell" }, "No latent is left: search for less, or take a filter away.")));
    this.element.toggleAttribute("aria-activedescendant", false);
    if (this.active >= first && this.active < last) this.element.setAttribute("aria-activedescendant", `row-${this.active}`);
  }

  row(place) {
    const latent = this.rows[place];
    const cells = this.columns.map((column, i) => h("div", { role: "gridcell", class: `is-${column.kind}`, "aria-colindex": i + 2 }, this.cell(column, latent)));
    const element = h("div", {
      role: "row", class: "row", id: `row-${place}`, "data-place": place, "aria-rowindex": place + 2,
      "aria-selected": this.opened.includes(latent) ? "true" : "false",
      style: { transform: `translateY(${place * ROW}px)` },
    }, h("div", { role: "rowheader", class: "is-count", "aria-colindex": 1 }, String(latent)), cells);
    element.classList.toggle("active", place === this.active);
    return element;
  }

  cell(column, latent) {
    const value = column.values[latent];
    if (column.kind === "picture") return value >= 0 ? picture(this.sheets, value, ROW - 6) : "";
    if (column.kind === "word") return column.codes[latent] < 0 ? "–" : column.words[column.codes[latent]];
    if (column.kind === "rate") return percent(value / this.pictures, 1);
    return number(value, column.kind === "count" ? 0 : column.digits);
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / ROW) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in steps && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      this.active = Math.min(this.rows.length - 1, Math.max(0, this.active + steps[event.key]));
      this.reveal();
      this.draw();
    } else if (event.key === "Enter" && event.target === this.element && this.rows.length) {
      this.openAt(this.active, true);
    }
  }

  openAt(place, byKey = false) {
    this.active = place;
    this.draw();
    this.open(this.rows[place], byKey);
  }

  reveal() {
    const [top, room] = [this.active * ROW, this.element.clientHeight - this.head.offsetHeight];
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    else if (top + ROW > this.element.scrollTop + room) this.element.scrollTop = top + ROW - room;
  }
}

// In rem, at least.
function width(column) {
  if (column.kind === "picture") return 3.2;
  if (column.kind === "rate") return 5.8;
  return column.kind === "word" ? 9 : Math.max(5, 0.52 * column.title.length + 1.6);
}
