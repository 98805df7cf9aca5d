// A page whose title holds the word comes before sections and passing mentions; what the glossary says of it comes first.
var Scorer = {
  score: ([page, title, anchor, , score]) => {
    if (/^term-/.test(anchor.replace("#", ""))) return score + 50;
    if (anchor) return Math.min(score, 30);
    const words = (new URLSearchParams(location.search).get("q") || "").toLowerCase().split(/\s+/).filter(Boolean);
    const inTitle = words.some((word) => title.toLowerCase().includes(word));
    return score + (inTitle ? 60 : 0) + (/^notebooks\//.test(page) ? 2 : 0);
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
