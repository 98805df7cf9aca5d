// A file as bytes, or an error that names it; told(bytes) hears of each piece as it comes.
export async function fetched(url, told = () => {}) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.pathname ?? url} could not be fetched (${response.status})`);
  const pieces = [];
  let length = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces.push(value);
    length += value.length;
    told(value.length);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

// The same, unpacked.
export async function unpacked(url) {
  const packed = await fetched(url);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}
