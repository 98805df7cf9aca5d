// A word in the title of a page of the story comes before the same word in a section of a page about files.
var Scorer = {
  score: ([page, , anchor, , score]) => {
    const first = /^notebooks\//.test(page) ? 60 : /^book\/(experiments\/|claims|glossary|intro|tour)/.test(page) ? 20 : 0;
    return score + (anchor && score > 15 ? -10 : 0) + first;
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
