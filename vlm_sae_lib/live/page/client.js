// The model behind its worker, as calls that can be waited for.
export class Client {
  constructor() {
    this.waiting = new Map();
    this.progress = () => {};
    this.worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.worker.addEventListener("message", ({ data }) => this.#heard(data));
    this.worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#gone(event.message || "a part of the model's program could not be fetched");
    });
  }

  load(facts, progress) {
    this.progress = progress;
    return this.#call("load", facts);
  }

  see = (pixels) => this.#call("see", pixels);
  answer = (edit, prompt) => this.#call("answer", edit, prompt);
  close = () => this.worker.terminate();

  #call(call, ...given) {
    return new Promise((resolve, reject) => {
      const id = (this.last = (this.last ?? 0) + 1);
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, call, given });
    });
  }

  #heard({ id, result, error, progress }) {
    if (progress !== undefined) return this.progress(progress);
    const { resolve, reject } = this.waiting.get(id);
    this.waiting.delete(id);
    error === undefined ? resolve(result) : reject(new Error(error));
  }

  #gone(why) {
    for (const { reject } of this.waiting.values()) reject(new Error(why));
    this.waiting.clear();
  }
}
