// From a question to word numbers and back, as the model's own tokenizer does it.
export class Words {
  constructor({ vocabulary, before, after, unknown, end }) {
    this.vocabulary = vocabulary;
    this.numbers = new Map(vocabulary.map((word, i) => [word, i]));
    Object.assign(this, { before, after, unknown, end });
    // What the tokenizer gives a meaning of its own, such as the mark of a picture, is no word of a question.
    this.special = new Set(vocabulary.filter((word) => /^<.*>$/.test(word)));
  }

  split(text) {
    return text.toLowerCase().match(/[?!.,:]|[^\s?!.,:]+/g) ?? [];
  }

  number(word) {
    return this.special.has(word) ? this.unknown : (this.numbers.get(word) ?? this.unknown);
  }

  // The words of a question that the model has never read.
  strange(question) {
    return this.split(question).filter((word) => this.number(word) === this.unknown);
  }

  // What stands before the picture and what after it.
  prompt(question) {
    return { before: this.before, after: [...this.split(question).map((word) => this.number(word)), ...this.after] };
  }
}
