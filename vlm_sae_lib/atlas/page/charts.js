// Small drawings of one latent. Each says in words what it shows.

import { h, percent, short, svg } from "./dom.js";

const [WIDE, HIGH] = [320, 110];

// On how many pictures the activation lies in which bin; the bins are half an octave each.
export function histogram(found, edges, pictures) {
  const fires = found.counts.reduce((sum, count) => sum + count, 0);
  const told = `Active on ${fires.toLocaleString("en")} of ${pictures.toLocaleString("en")} pictures, silent on the others.`;
  if (!fires) return h("p", { class: "quiet" }, "It is active on none of the pictures.");
  const [most, step] = [Math.max(...found.counts), WIDE / found.counts.length];
  const bars = found.counts.map((count, i) => {
    const [low, high] = [edges[found.first + i], edges[found.first + i + 1]];
    const bar = svg("rect", { class: "bar", x: i * step + 0.5, width: Math.max(step - 1, 0.5), y: HIGH - (count / most) * (HIGH - 14), height: (count / most) * (HIGH - 14) });
    bar.append(svg("title", {}, `${count} pictures from ${short(low ?? 0)} to ${high === null ? "there on" : short(high)}`));
    return bar;
  });
  const ends = [edges[found.first], edges[found.first + found.counts.length]];
  return h("figure", {},
    svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH + 16}`, role: "img", "aria-label": `Histogram of its activations. ${told}` },
      bars,
      svg("line", { class: "axis", x1: 0, x2: WIDE, y1: HIGH, y2: HIGH }),
      svg("text", { x: 0, y: HIGH + 13 }, short(ends[0] ?? 0)),
      svg("text", { x: WIDE, y: HIGH + 13, "text-anchor": "end" }, ends[1] === null ? "" : short(ends[1])),
      svg("text", { x: WIDE / 2, y: HIGH + 13, "text-anchor": "middle" }, "activation, a bar for half an octave"),
      svg("text", { x: WIDE, y: 9, "text-anchor": "end" }, `${most} pictures`)),
    h("figcaption", {}, told));
}

const CURVES = [
  ["said", "says it", "circle"],
  ["random", "says it after a random push as long", "square"],
  ["kept", "other answers kept", "triangle"],
];

// Shares of pictures by dose: the concept said, the same for the control, the other answers kept.
export function doseCurve(steering, doses) {
  const [left, right, top, bottom] = [40, 8, 8, 28];
  const x = (i) => left + ((WIDE - left - right) * i) / Math.max(1, doses.length - 1);
  const y = (share) => top + (HIGH + 20 - top - bottom) * (1 - share);
  const lines = CURVES.map(([name, , shape]) => {
    const points = steering[name].map((share, i) => (share === null ? null : [x(i), y(share)])).filter(Boolean);
    return svg("g", { class: `curve ${name}` },
      svg("polyline", { points: points.map((point) => point.join(",")).join(" ") }),
      points.map(([cx, cy]) => mark(shape, cx, cy)));
  });
  const grid = [0, 0.5, 1].map((share) => svg("g", {},
    svg("line", { class: "axis faint", x1: left, x2: WIDE - right, y1: y(share), y2: y(share) }),
    svg("text", { x: left - 5, y: y(share) + 4, "text-anchor": "end" }, `${100 * share} %`)));
  const ticks = doses.map((dose, i) => svg("text", { x: x(i), y: HIGH + 6, "text-anchor": "middle" }, `${dose}×`));
  const told = CURVES.map(([name, words]) => `${words}: ${steering[name].map((share, i) => `${percent(share)} at ${doses[i]}×`).join(", ")}`).join(". ");
  return h("figure", {},
    svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH + 14}`, role: "img", "aria-label": `Dose curve for “${steering.concept}”. ${told}.` }, grid, ticks, lines),
    h("figcaption", { class: "legend" }, CURVES.map(([name, words, shape]) =>
      h("span", { class: `curve ${name}` }, svg("svg", { viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" }, mark(shape, 6, 6)), words))));
}

function mark(shape, x, y) {
  if (shape === "circle") return svg("circle", { cx: x, cy: y, r: 3.4 });
  if (shape === "square") return svg("rect", { x: x - 3, y: y - 3, width: 6, height: 6 });
  return svg("path", { d: `M ${x} ${y - 3.8} l 3.8 6.6 h -7.6 z` });
}
