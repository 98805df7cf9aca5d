// What a reader sees who comes without a wish: one telling latent, found by a rule. Nothing here touches the page.

const ENOUGH = 16; // pictures on which it fires: a rarer one scores high easily
const RULES = [ // by what a name is sure; an atlas that knows less of its pictures leaves the first ones out
  ["right", (share) => share === 1, "one whose name is true of all its top pictures"],
  ["confidence", (sure) => sure >= 0.5, "one whose name CLIP is sure of"],
  ["fires", (pictures) => pictures > 0, "one"],
];
export const READS = ["ms_1", "fires", "right", "confidence"];

// The most monosemantic latent that fires often enough and whose name is sure, and the rule in words; null where none is.
export function example(columns) {
  const [scores, fires] = ["ms_1", "fires"].map((name) => columns.get(name)?.values);
  if (!scores || !fires) return null;
  for (const [name, sure, words] of RULES) {
    const values = columns.get(name)?.values;
    let best = null;
    for (let latent = 0; latent < scores.length; latent++) {
      const fits = values && sure(values[latent]) && fires[latent] >= ENOUGH && scores[latent] > -Infinity;
      if (fits && (best === null || scores[latent] > scores[best])) best = latent;
    }
    if (best !== null) return { latent: best, words: `of those that fire on ${ENOUGH} pictures or more, the most monosemantic ${words}` };
  }
  return null;
}
