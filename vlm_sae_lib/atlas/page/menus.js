// The two menus above the table: which columns it shows, and which latents are left by their values.

import { h } from "./dom.js";

let drawn = { filters: "", columns: "" };

export function menus(filters, columns, { sae, state, isShown, go }) {
  const count = Object.keys(state.filters).length;
  filters.querySelector("summary").textContent = count ? `filter (${count})` : "filter";
  // While a reader types into a field, it stays as it is.
  if (!filters.contains(document.activeElement) || drawn.filters !== sae.key) {
    filters.querySelector(".menu").replaceChildren(...sae.columns.filter((one) => one.kind !== "picture").map((one) => field(one, state, go)),
      h("button", { type: "button", onclick: () => { document.activeElement.blur(); go({ filters: {} }); } }, "take all away"));
    drawn.filters = sae.key;
  }
  columns.querySelector(".menu").replaceChildren(...sae.columns.map((one) => h("label", { title: one.meaning },
    h("input", { type: "checkbox", checked: isShown(one), onchange: () => go({ shown: changed(sae, isShown, one) }, { replace: true }) }), ` ${one.title}`, h("small", {}, one.meaning))));
}

function changed(sae, isShown, column) {
  const wish = sae.columns.filter((one) => (one === column ? !isShown(one) : isShown(one))).map((one) => one.name);
  const own = sae.columns.filter((one) => one.shown).map((one) => one.name);
  return wish.join() === own.join() ? null : wish;
}

function field(column, state, go) {
  const wish = state.filters[column.name] ?? "";
  const set = (value) => {
    const filters = { ...state.filters };
    if (value) filters[column.name] = value;
    else delete filters[column.name];
    state.filters = filters;
    go({ filters }, { replace: true });
  };
  if (column.kind === "word") {
    return h("label", { class: "filter" }, column.title, h("input", { type: "text", value: wish, oninput: (event) => set(event.target.value.trim()) }));
  }
  const unit = column.kind === "rate" ? 100 : 1;
  const [low, high] = wish ? wish.split("..") : ["", ""];
  const shown = (text) => (text === "" || text === undefined ? "" : String(Math.round(Number(text) * unit * 1e6) / 1e6));
  const [from, to] = [shown(low), shown(high)].map((value, i) => h("input", { type: "number", step: "any", value, "aria-label": `${column.title}, ${i ? "at most" : "at least"}` }));
  const read = (input) => (input.value === "" ? "" : String(Number(input.value) / unit));
  const update = () => set(from.value === "" && to.value === "" ? "" : `${read(from)}..${read(to)}`);
  from.addEventListener("input", update);
  to.addEventListener("input", update);
  return h("div", { class: "filter" }, h("span", {}, unit === 100 ? `${column.title}, %` : column.title), from, "–", to);
}
