// What happens first: the page's data, the offer to load the model, and what stands in its place until then.
import { showBeforehand } from "./beforehand.js";
import { Client } from "./client.js";
import { Desk } from "./desk.js";
import { Painter } from "./painter.js";
import { State } from "./state.js";
import { Words } from "./words.js";

const NARROW = "(max-width: 44rem)"; // as in live.css, one column
const find = (id) => document.getElementById(id);
const json = async (name) => {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`${name} could not be fetched (${response.status})`);
  return response.json();
};

async function start() {
  json("beforehand.json").then(showBeforehand).catch(() => {}); // then there is nothing to show in the model's place
  const [facts, island] = await Promise.all([json("model.json"), json("studio.json")]);
  const state = new State(island, facts);
  state.read(location.hash);
  const desk = new Desk({ island, facts, words: new Words(facts), painter: new Painter(island), state });
  addEventListener("hashchange", () => {
    if (location.hash === state.link) return;
    state.read(location.hash);
    desk.reread();
  });
  find("starting").hidden = true;
  find("megabytes").textContent = Math.round(facts.bytes / 1e6);
  for (const name of ["namedOn", "triedOn", "multiple"]) find(name).textContent = facts[name];
  find("loading").hidden = false;
  find("load").addEventListener("click", () => load(facts, desk));
}

async function load(facts, desk) {
  const bar = find("load-progress"), client = new Client();
  Object.assign(find("load"), { disabled: true });
  bar.hidden = false;
  find("load-status").textContent = "Loading …";
  try {
    await client.load(facts, (bytes) => (bar.value = bytes / facts.bytes));
    find("loading").hidden = find("beforehand").hidden = true;
    document.querySelector("main").hidden = find("facts").hidden = false;
    await desk.use(client);
    firstPlace().focus();
  } catch (error) {
    client.close();
    bar.hidden = true;
    Object.assign(find("load"), { disabled: false });
    complain(error);
  }
}

// Where a reader goes on: at the slider where a link has brought a latent, else at the list; on a phone, where a search
// field would bring up the keyboard and scroll the picture away, at the picture.
function firstPlace() {
  if (!find("strength").disabled) return find("strength");
  return matchMedia(NARROW).matches ? find("picture-title") : find("find");
}

function complain(error) {
  find("starting").hidden = true;
  find("loading").hidden = false;
  const instead = find("beforehand").hidden ? "" : " The answers below were computed beforehand and need no model.";
  find("load-status").textContent = `The model could not be loaded: ${error.message}.${instead}`;
}

start().catch(complain);
