// The atlas's files, each fetched once, when it is first needed.

const fetched = new Map();

export function load(path) {
  if (!fetched.has(path)) {
    const promise = fetch(path).then((answer) => {
      if (!answer.ok) throw new Error(`${path} is not there (${answer.status})`);
      return answer.json();
    });
    promise.catch(() => fetched.delete(path));
    fetched.set(path, promise);
  }
  return fetched.get(path);
}

// A column ready to sort and search: numbers as they are (NaN where there is none); words as places in the alphabet.
export async function loadColumn(sae, column) {
  const file = await load(`${sae.key}/columns/${column.name}.json`);
  if (column.kind !== "word") {
    return { ...column, values: Float64Array.from(file.values, (value) => (value === null ? NaN : value)) };
  }
  const order = file.words.map((_, i) => i).sort((a, b) => file.words[a].localeCompare(file.words[b]) || a - b);
  const rank = new Float64Array(file.words.length);
  order.forEach((word, place) => (rank[word] = place));
  const codes = Int32Array.from(file.values);
  return { ...column, words: file.words, about: file.about, codes, values: Float64Array.from(codes, (code) => (code < 0 ? NaN : rank[code])) };
}

// In the file what is said is a place among the autoencoder's texts; here it is the text.
export async function loadLatent(sae, latent) {
  const number = Math.floor(latent / sae.per_file);
  const [{ texts }, file] = await Promise.all(
    ["texts", `latents/${String(number).padStart(4, "0")}`].map((name) => load(`${sae.key}/${name}.json`)));
  const text = (place) => texts[place], found = file.latents[latent - file.first];
  const pictures = Object.fromEntries(Object.entries(file.pictures).map(([picture, [id, label]]) => [picture, [id, text(label)]]));
  const detects = found.detects.map(([factor, value, ...rest]) => [text(factor), text(value), ...rest]);
  const captions = found.steering?.captions?.map((said) => said.map(text));
  return { latent, ...found, pictures, detects, steering: captions ? { ...found.steering, captions } : found.steering };
}

// What a latent is called where there is room for few words: its name, or what it detects, or its number.
export function called(columns, latent) {
  for (const name of ["name", "detects"]) {
    const column = columns.get(name);
    if (column && column.codes[latent] >= 0) return column.words[column.codes[latent]];
  }
  return "";
}

export function cover(columns, latent) {
  return columns.has("cover") ? columns.get("cover").values[latent] : -1;
}
