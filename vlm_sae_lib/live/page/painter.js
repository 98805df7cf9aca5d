// Paints a picture of the island from the world's own layers, pixel for pixel as the world's painter would.
import { unpacked } from "./fetching.js";

const SIDE = 64, TIMES = 3, PIXELS = SIDE * TIMES;
const NINTH = 1864135 / 2 ** 24; // PIL's, a little less than 1/9: a mean may come out one lower

export class Painter {
  // island: what there is to choose from and each view's table of contents (studio.json).
  constructor(island) {
    this.island = island;
    this.files = new Map();
  }

  #file(view) {
    if (!this.files.has(view)) {
      const coming = unpacked(new URL(`studio/${view}.bin`, import.meta.url));
      coming.catch(() => this.files.delete(view)); // so that it is asked for again
      this.files.set(view, coming);
    }
    return this.files.get(view);
  }

  // scene: {kind: "blank"}, {kind: "nobody", habitat, view}, or {kind: "organism", family, colour, pattern, habitat,
  // size, view}. RGB bytes, row by row.
  async paint(scene) {
    if (scene.kind === "blank") return new Uint8Array(3 * SIDE * SIDE).fill(255);
    const contents = this.island.views[scene.view], packed = await this.#file(scene.view);
    const canvas = new Uint8Array(packed, contents.backdrops[scene.habitat], 3 * PIXELS * PIXELS).slice();
    const somebody = scene.kind === "organism";
    if (somebody) this.#place(canvas, scene, contents, packed);
    const grain = new Float32Array(packed, somebody ? contents.grain : contents.grain_of_empty, 3 * SIDE * SIDE);
    return developed(canvas, contents.tint, grain);
  }

  #place(canvas, { family, colour, pattern, habitat, size }, contents, packed) {
    const { families, patterns, sizes, shadows, fixed } = this.island;
    const first = families.findIndex(({ name }) => name === family) * patterns.length;
    const map = (kind) => contents.maps[kind * sizes.length + sizes.indexOf(size)];
    const roles = new Uint8Array(PIXELS * PIXELS);
    // Of a pattern there is what differs from the first one.
    const parts = new Set([first, first + patterns.indexOf(pattern)]);
    for (const [start, left, top, width, height] of [...parts].map(map)) {
      const part = new Uint8Array(packed, start, width * height);
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++) roles[(y + top) * PIXELS + x + left] ^= part[y * width + x];
    }
    const colours = [null, shadows[habitat], ...contents.palettes[colour], ...fixed];
    roles.forEach((role, place) => {
      if (role) canvas.set(colours[role], 3 * place);
    });
  }
}

// Averages to the model's size, tints and adds grain, rounding as the world's painter does.
function developed(canvas, tint, grain) {
  const picture = new Uint8Array(3 * SIDE * SIDE);
  for (let y = 0; y < SIDE; y++)
    for (let x = 0; x < SIDE; x++)
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let v = 0; v < TIMES; v++)
          for (let u = 0; u < TIMES; u++) sum += canvas[3 * ((y * TIMES + v) * PIXELS + x * TIMES + u) + c];
        const mean = Math.floor((sum + 4) * NINTH), i = 3 * (y * SIDE + x) + c;
        picture[i] = Math.trunc(Math.min(255, Math.max(0, mean * tint[c] + grain[i])));
      }
  return picture;
}
