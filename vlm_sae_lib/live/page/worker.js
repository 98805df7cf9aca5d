// Keeps the model off the page's own thread: {id, call, arguments} in, {id, result} or {id, error} out.
import { Model } from "./model.js";

let model;
const calls = {
  async load(facts) {
    model = await Model.load(facts, (bytes) => postMessage({ progress: bytes }));
  },
  see: (pixels) => model.see(pixels),
  answer: (edit, prompt) => model.answer(edit, prompt),
};

// One after the other: a session that runs must not be asked again.
let last = Promise.resolve();
addEventListener("message", ({ data: { id, call, given } }) => {
  last = last.then(async () => {
    try {
      postMessage({ id, result: await calls[call](...given) });
    } catch (error) {
      postMessage({ id, error: String(error?.message ?? error) });
    }
  });
});
