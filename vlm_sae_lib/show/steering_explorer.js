// The steering explorer without a kernel: every caption was computed beforehand and lies in the page as JSON.
for (const explorer of document.querySelectorAll(".steering-explorer:not([data-ready])")) {
  explorer.dataset.ready = "yes";
  const data = JSON.parse(explorer.querySelector(".se-data").textContent);
  const find = (selector) => explorer.querySelector(selector);
  const picture = find(".se-choose-picture"), neuron = find(".se-choose-neuron"), strength = find(".se-strength");

  // Words of `text` that are not in its longest common subsequence with `before`.
  const changed = (before, text) => {
    const a = before.split(/\s+/).filter(Boolean), b = text.split(/\s+/).filter(Boolean);
    const common = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
    for (let i = a.length - 1; i >= 0; i--)
      for (let j = b.length - 1; j >= 0; j--)
        common[i][j] = a[i] === b[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    const words = [];
    for (let i = 0, j = 0; j < b.length; j++) {
      while (i < a.length && a[i] !== b[j] && common[i + 1][j] >= common[i][j + 1]) i++;
      const kept = i < a.length && a[i] === b[j];
      if (kept) i++;
      words.push([b[j], !kept]);
    }
    return words;
  };

  // Model text goes in as text, never as HTML.
  const say = (element, before, text) => {
    element.replaceChildren();
    if (!text) element.textContent = "(says nothing)";
    for (const [word, isNew] of changed(before, text)) {
      if (element.childNodes.length) element.append(" ");
      const node = document.createElement(isNew ? "mark" : "span");
      node.textContent = word;
      element.append(node);
    }
  };

  const middle = data.multiples.indexOf(null);
  const spoken = (multiple) => multiple === null ? "unsteered" : String(multiple);

  // What is chosen stands in the address, by name, so that it can be sent and survives another order.
  const write = () => {
    const chosen = new URLSearchParams({
      picture: data.pictures[picture.selectedIndex].label, neuron: data.neurons[neuron.selectedIndex].label,
      strength: spoken(data.multiples[Number(strength.value)]),
    });
    try { history.replaceState(history.state, "", "#" + chosen); } catch { /* a page without an address */ }
  };
  const read = () => {
    const asked = new URLSearchParams(location.hash.slice(1));
    if (!asked.has("picture") && !asked.has("neuron") && !asked.has("strength")) return false;
    const choose = (list, name) => list.findIndex((one) => one === name);
    const p = choose(data.pictures.map((one) => one.label), asked.get("picture"));
    const n = Math.max(choose(data.neurons.map((one) => one.label), asked.get("neuron")),
                       choose(data.neurons.map((one) => one.name), asked.get("neuron")));
    const s = choose(data.multiples.map(spoken), asked.get("strength"));
    if (p >= 0) picture.selectedIndex = p;
    if (n >= 0) neuron.selectedIndex = n;
    strength.value = s >= 0 ? s : middle;
    return true;
  };

  const update = () => {
    const p = picture.selectedIndex, n = neuron.selectedIndex, s = Number(strength.value);
    const chosen = data.neurons[n], multiple = data.multiples[s];
    const stated = multiple === null ? "unsteered"
      : chosen.unit === null ? `${multiple} × what was learned, on every token`
      : `${multiple} × its maximum = ${(multiple * Number(chosen.unit)).toFixed(2)} on every token`;
    strength.setAttribute("aria-valuetext", stated);
    find(".se-value").textContent = stated;
    const image = find(".se-picture img");
    image.src = data.pictures[p].src;
    image.alt = data.pictures[p].label;
    const tops = explorer.querySelectorAll(".se-tops img");
    tops.forEach((top, i) => {
      top.hidden = !(i < chosen.tops.length);
      if (!top.hidden) { top.src = chosen.tops[i].src; top.alt = `picture ${i + 1} of those that neuron ${chosen.name} responds to most`; }
    });
    const texts = data.captions[n][p][s].map((i) => data.texts[i]);
    const before = data.captions[n][p][middle].map((i) => data.texts[i]);
    say(find("output"), before[0], texts[0]);
    find(".se-before").textContent = before[0] || "(says nothing)";
    explorer.querySelectorAll(".se-answer").forEach((element, q) => say(element, before[q + 1], texts[q + 1]));
    find(".se-which").textContent = data.pictures[p].label;
    for (const cell of explorer.querySelectorAll("td[data-n]"))
      cell.textContent = data.texts[data.captions[Number(cell.dataset.n)][p][Number(cell.dataset.s)][0]];
  };
  for (const control of [picture, neuron, strength]) {
    control.addEventListener("input", update);
    control.addEventListener("change", () => { update(); write(); });
  }
  addEventListener("hashchange", () => { if (read()) update(); });
  const sent = read();
  update();
  if (sent) explorer.scrollIntoView({ block: "center" });
}
