// Which latents a search and the filters leave, and in which order. Nothing here touches the page.

// columns: by name. query: words that must all be met. filters: by column "0.2..", "..3", "1..2" or, of words, a word.
export function chosen(count, columns, query, filters, sort, pictures) {
  const kept = new Uint8Array(count).fill(1);
  for (const word of query.toLowerCase().split(/\s+/).filter(Boolean)) keepWord(kept, columns, word);
  for (const [name, wish] of Object.entries(filters)) {
    const column = columns.get(name);
    if (!column) continue;
    if (column.kind === "word") keepCodes(kept, column, met(column, wish.toLowerCase()));
    else keepBetween(kept, column, wish, column.kind === "rate" ? pictures : 1);
  }
  const rows = new Uint32Array(kept.reduce((sum, one) => sum + one, 0));
  for (let latent = 0, place = 0; latent < count; latent++) if (kept[latent]) rows[place++] = latent;
  const by = sort && columns.get(sort.column);
  return by ? ordered(rows, by.values, sort.down) : sort?.column === "latent" && sort.down ? rows.reverse() : rows;
}

function keepWord(kept, columns, word) {
  const some = new Uint8Array(kept.length);
  if (/^#?\d+$/.test(word) && Number(word.replace("#", "")) < kept.length) some[Number(word.replace("#", ""))] = 1;
  for (const column of columns.values()) {
    if (column.kind !== "word") continue;
    const words = met(column, word);
    if (!words.includes(1)) continue;
    for (let latent = 0; latent < kept.length; latent++) if (column.codes[latent] >= 0 && words[column.codes[latent]]) some[latent] = 1;
  }
  for (let latent = 0; latent < kept.length; latent++) kept[latent] &= some[latent];
}

function met(column, wish) {
  return Uint8Array.from(column.words, (word, i) => word.toLowerCase().includes(wish) || column.about[i].toLowerCase() === wish);
}

function keepCodes(kept, column, words) {
  for (let latent = 0; latent < kept.length; latent++) if (column.codes[latent] < 0 || !words[column.codes[latent]]) kept[latent] = 0;
}

function keepBetween(kept, column, wish, unit) {
  const [low, high] = limits(wish);
  for (let latent = 0; latent < kept.length; latent++) {
    const value = column.values[latent] / unit;
    if (!(value >= low && value <= high)) kept[latent] = 0;
  }
}

export function limits(wish) {
  const [low, high] = wish.split("..");
  return [low === "" ? -Infinity : Number(low), high === "" || high === undefined ? Infinity : Number(high)];
}

// Those without a value come last, whichever way; equals stay in the order of their numbers.
function ordered(rows, values, down) {
  const sign = down ? -1 : 1;
  return rows.sort((a, b) => {
    const [x, y] = [values[a], values[b]];
    if (x !== x || y !== y) return (x !== x) - (y !== y) || a - b;
    return sign * (x - y) || a - b;
  });
}
