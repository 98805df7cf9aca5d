// A picture of the reader's own, brought to the model's size as the model's own preparation does it.
const LARGEST = 4096; // a canvas beyond this is refused by some browsers

// RGB bytes, side × side, of a file that holds a picture; an error says that it holds none.
export async function prepared(file, side) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    throw new Error(`${file.name} could not be read as a picture`);
  }
  const shrink = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((length) => Math.max(1, Math.round(length * shrink)));
  const canvas = new OffscreenCanvas(width, height), pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "white";
  pen.fillRect(0, 0, width, height);
  pen.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return resized(pen.getImageData(0, 0, width, height).data, width, height, side);
}

// Bicubic with a filter as wide as what it averages, first along the rows, then along the columns, as PIL and
// torchvision do. data: RGBA bytes.
export function resized(data, width, height, side) {
  const across = weights(width, side), down = weights(height, side);
  const narrow = new Uint8ClampedArray(3 * side * height), picture = new Uint8ClampedArray(3 * side * side);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < side; x++)
      for (let c = 0; c < 3; c++) {
        const { first, share } = across[x];
        let sum = 0;
        for (let i = 0; i < share.length; i++) sum += share[i] * data[4 * (y * width + first + i) + c];
        narrow[3 * (y * side + x) + c] = Math.round(sum);
      }
  for (let y = 0; y < side; y++)
    for (let i = 0; i < 3 * side; i++) {
      const { first, share } = down[y];
      let sum = 0;
      for (let k = 0; k < share.length; k++) sum += share[k] * narrow[3 * side * (first + k) + i];
      picture[3 * side * y + i] = Math.round(sum);
    }
  return new Uint8Array(picture.buffer);
}

function weights(from, to) {
  const scale = from / to, wide = Math.max(1, scale);
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - 2 * wide + 0.5));
    const end = Math.min(from, Math.trunc(centre + 2 * wide + 0.5));
    const share = Array.from({ length: end - first }, (_, k) => cubic((first + k - centre + 0.5) / wide));
    const sum = share.reduce((a, b) => a + b, 0);
    return { first, share: share.map((value) => value / sum) };
  });
}

function cubic(x) {
  x = Math.abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}
