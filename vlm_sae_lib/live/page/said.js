// What the model said, as elements. Its words go in as text, never as markup.

// Words of `text` that are not in its longest common subsequence with `before`.
function changed(before, text) {
  const common = Array.from({ length: before.length + 1 }, () => new Uint16Array(text.length + 1));
  for (let i = before.length - 1; i >= 0; i--)
    for (let j = text.length - 1; j >= 0; j--)
      common[i][j] = before[i] === text[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
  return text.map(((i) => (word, j) => {
    while (i < before.length && before[i] !== word && common[i + 1][j] >= common[i][j + 1]) i++;
    const kept = i < before.length && before[i] === word;
    if (kept) i++;
    return [word, !kept];
  })(0));
}

// before, text: lists of words; those that are new are marked.
export function say(element, text, before = text) {
  element.replaceChildren();
  if (!text.length) element.textContent = "(says nothing)";
  for (const [word, isNew] of changed(before, text)) {
    if (element.childNodes.length) element.append(" ");
    const node = document.createElement(isNew ? "mark" : "span");
    node.textContent = word;
    element.append(node);
  }
}

// Where two answers part: up to there the model has read the same words, so that its odds can be compared.
export function parting(before, after) {
  let place = 0;
  while (place < before.length && place < after.length && before[place] === after[place]) place++;
  return before.length === after.length && place === before.length ? 0 : place;
}

export function odds(scores) {
  const top = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  const parts = scores.map((score) => Math.exp(score - top)), sum = parts.reduce((a, b) => a + b, 0);
  return parts.map((part) => part / sum);
}

// The likeliest words before and after as rows with two bars each.
export function showOdds(body, name, before, after, most = 6) {
  const height = (i) => Math.max(before[i], after[i]);
  const shown = Array.from(before.keys()).sort((a, b) => height(b) - height(a)).slice(0, most);
  body.replaceChildren(...shown.filter((i) => height(i) >= 0.001).map((i) => {
    const row = document.createElement("tr"), head = document.createElement("th");
    head.scope = "row";
    head.textContent = name(i);
    row.append(head, ...[before[i], after[i]].map((share, k) => {
      const [cell, bar, text] = ["td", "meter", "span"].map((tag) => document.createElement(tag));
      bar.value = share;
      bar.className = k ? "steered" : "unsteered";
      bar.setAttribute("aria-hidden", "true");
      text.textContent = share < 0.005 ? "<1 %" : `${Math.round(100 * share)} %`;
      cell.append(bar, text);
      return cell;
    }));
    return row;
  }));
}
