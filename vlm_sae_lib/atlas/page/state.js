// Everything that a link can tell stands in the address: #sae=…&latent=…&with=…&q=…&sort=-ms_1&f.fires=0.1..&tree

export function readState() {
  const from = new URLSearchParams(location.hash.slice(1));
  const filters = {};
  for (const [key, value] of from) if (key.startsWith("f.") && value) filters[key.slice(2)] = value;
  const sort = from.get("sort") ?? "";
  return {
    tree: from.has("tree"),
    sae: from.get("sae"),
    latent: whole(from.get("latent")),
    with: whole(from.get("with")),
    q: from.get("q") ?? "",
    sort: sort ? { column: sort.replace(/^-/, ""), down: sort.startsWith("-") } : null,
    filters,
    shown: from.get("show")?.split(",") ?? null,
    node: whole(from.get("node")),
    root: whole(from.get("root")),
    levels: from.get("levels")?.split(",").map(Number) ?? null,
  };
}

export function addressOf(state) {
  const to = new URLSearchParams();
  const put = (key, value) => value !== null && value !== undefined && value !== "" && to.set(key, value);
  put("sae", state.sae);
  if (state.tree) {
    put("node", state.node);
    put("root", state.root);
    put("levels", state.levels?.join(","));
  } else {
    put("latent", state.latent);
    put("with", state.with);
    put("q", state.q);
    put("sort", state.sort && `${state.sort.down ? "-" : ""}${state.sort.column}`);
    put("show", state.shown?.join(","));
    for (const [name, value] of Object.entries(state.filters)) put(`f.${name}`, value);
  }
  const text = to.toString();
  return `#${state.tree ? `tree${text ? "&" : ""}` : ""}${text}`;
}

function whole(text) {
  return text !== null && /^\d+$/.test(text) ? Number(text) : null;
}
