// The answers that were computed beforehand, those of the steering notebook: a picture, a neuron, a strength at a time.
import { say } from "./said.js";

const find = (id) => document.getElementById(id);
const split = (text) => text.split(/\s+/).filter(Boolean);

// data: as the notebook's own panel holds it.
export function showBeforehand(data) {
  const picture = find("b-picture"), neuron = find("b-neuron"), strength = find("b-strength");
  picture.append(...data.pictures.map(({ label }, i) => new Option(label, i)));
  neuron.append(...data.neurons.map(({ label }, i) => new Option(label, i)));
  const unsteered = data.multiples.indexOf(null); // amid the others: what suppresses lies before it
  strength.max = data.multiples.length - 1;
  strength.value = unsteered;
  const update = () => {
    const shown = data.pictures[picture.value], chosen = data.neurons[neuron.value];
    const multiple = data.multiples[strength.value];
    const said = data.captions[neuron.value][picture.value], words = (step) => split(data.texts[said[step][0]]);
    const unit = chosen.learned ? "what was learned" : "its maximum";
    const stated = multiple === null ? "unsteered" : `${multiple} × ${unit} on every token`.replace("-", "−");
    strength.setAttribute("aria-valuetext", stated);
    find("b-stated").textContent = `asked: ${data.prompts[0]} — ${stated}`;
    Object.assign(find("b-image"), { src: shown.src, alt: shown.label });
    say(find("b-caption"), words(strength.value), words(unsteered));
    say(find("b-before"), words(unsteered));
  };
  for (const control of [picture, neuron, strength]) control.addEventListener("input", update);
  update();
  find("beforehand").hidden = false;
}
