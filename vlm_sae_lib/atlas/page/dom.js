// Elements from data. What a model or a folder's name says becomes text, never markup.

const SVG = "http://www.w3.org/2000/svg";

export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") {
      for (const [key, to] of Object.entries(value)) if (to !== null) element.style.setProperty(key, to);
    } else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// A picture out of its sheet, so many pixels wide, or as the style sheet has it. Without words it is an ornament beside
// words that say the same.
export function picture(sheets, number, size, words) {
  const place = number % sheets.per_row ** 2;
  const element = h("span", {
    class: "picture",
    ...(words ? { role: "img", "aria-label": words, title: words } : { "aria-hidden": "true" }),
    style: { "--size": size && `${size}px`, "--across": sheets.per_row, "--x": place % sheets.per_row, "--y": Math.floor(place / sheets.per_row) },
  });
  if (number < 0 || !sheets.sheets) {
    element.classList.add("tile");
    return element;
  }
  const sheet = Math.floor(number / sheets.per_row ** 2);
  element.style.backgroundImage = `url("pictures/${String(sheet).padStart(4, "0")}.webp")`;
  return element;
}

export function percent(share, digits = 0) {
  return share === null || Number.isNaN(share) ? "–" : `${(100 * share).toFixed(digits)} %`;
}

export function number(value, digits) {
  return value === null || value === undefined || Number.isNaN(value) ? "–" : value.toFixed(digits).replace("-", "−");
}

export function short(value) {
  return value === null || value === undefined ? "–" : Number(value.toPrecision(3)).toString().replace("-", "−");
}
