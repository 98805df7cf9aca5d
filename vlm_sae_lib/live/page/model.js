// The model in the browser: three graphs, run one after the other by onnxruntime-web on one thread.
import * as ort from "../vendor/onnxruntime-web/ort.wasm.min.mjs";
import { fetched } from "./fetching.js";

const RUNTIME = new URL("../vendor/onnxruntime-web/", import.meta.url);
const GRAPHS = ["tower", "edit", "language"];
const MEAN = 0.5, SPREAD = 0.3;

export class Model {
  // facts: the model.json of the page; progress(bytes) is told what has come so far.
  static async load(facts, progress = () => {}) {
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = { mjs: new URL("ort-wasm-simd-threaded.mjs", RUNTIME).href };
    let sum = 0;
    const add = (bytes) => progress((sum += bytes));
    const [wasm, ...graphs] = await Promise.all([
      fetched(new URL("ort-wasm-simd-threaded.wasm", RUNTIME), add),
      ...GRAPHS.map((name) => fetched(new URL(`model/${name}.onnx`, import.meta.url), add)),
    ]);
    ort.env.wasm.wasmBinary = wasm;
    const sessions = {};
    for (const [i, name] of GRAPHS.entries())
      sessions[name] = await ort.InferenceSession.create(graphs[i], { graphOptimizationLevel: "all" });
    return new Model(facts, sessions);
  }

  constructor(facts, sessions) {
    Object.assign(this, { facts, sessions, states: null, latents: null });
  }

  // pixels: RGB bytes, row by row. The latents of every token, the class token's first.
  async see(pixels) {
    const { side } = this.facts, area = side * side, input = new Float32Array(3 * area);
    for (let i = 0; i < area; i++)
      for (let c = 0; c < 3; c++)
        input[c * area + i] = (pixels[3 * i + c] / 255 - MEAN) / SPREAD;
    const seen = await this.sessions.tower.run({ pixels: new ort.Tensor("float32", input, [1, 3, side, side]) });
    this.states = seen.states;
    this.latents = seen.latents;
    return Float32Array.from(seen.latents.data);
  }

  // What the language model would be shown of the picture. edit: {latent: null or number, strength, keepError,
  // direction: none, or the unit vector to push along in the latent's stead}.
  async edited({ latent = null, strength = 0, keepError = false, direction = null }) {
    const { latents, width } = this.facts, chosen = new Uint8Array(latents);
    if (latent !== null) chosen[latent] = 1;
    const flag = (value) => new ort.Tensor("bool", Uint8Array.of(value ? 1 : 0), []);
    const { features } = await this.sessions.edit.run({
      states: this.states,
      latents: this.latents,
      chosen: new ort.Tensor("bool", chosen, [latents]),
      strength: new ort.Tensor("float32", Float32Array.of(strength), []),
      keep_error: flag(keepError),
      pushed: flag(direction !== null),
      direction: new ort.Tensor("float32", Float32Array.from(direction ?? new Float32Array(width)), [width]),
    });
    return features;
  }

  // The likeliest answer, word by word: {words: numbers, scores: a Float32Array for each, the end's too}.
  async answer(edit, { before, after }, atMost = this.facts.longest) {
    const numbers = (list) => new ort.Tensor("int64", BigInt64Array.from(list, BigInt), [1, list.length]);
    const { cache, end } = this.facts, words = [], scores = [];
    const nothing = new ort.Tensor("float32", new Float32Array(0), [1, 0, this.facts.wordWidth]);
    let feed = {
      before: numbers(before),
      features: await this.edited(edit),
      after: numbers(after),
      cache: new ort.Tensor("float32", new Float32Array(0), cache),
    };
    while (words.length < atMost) {
      const read = await this.sessions.language.run(feed);
      scores.push(Float32Array.from(read.scores.data));
      const next = largest(read.scores.data);
      if (next === end) break;
      words.push(next);
      feed = { before: numbers([]), features: nothing, after: numbers([next]), cache: read.grown };
    }
    return { words, scores };
  }
}

function largest(scores) {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i] > scores[best]) best = i;
  return best;
}
