// Favourites, kept only in this browser: each holds the view and the model's digest, so that it can be requested again.

import { ask } from "./api.js";
import { element } from "./dom.js";
import { put, show, shownFormat } from "./show.js";
import { readState, writeState } from "./state.js";
import { immutableUrl, shownUrl } from "./urls.js";

const KEY = "gan-serve.pins";
const MOST = 60;
const NOTHING = "Nothing is pinned yet. Pin a sample, and it stays in this browser.";

export function loadPins() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    const isPin = (pin) => typeof pin?.hash === "string" && typeof pin?.model?.name === "string";
    return Array.isArray(found) ? found.filter(isPin) : [];
  } catch {
    return []; // no storage, or data of another page
  }
}

function keep(pins) {
  try {
    localStorage.setItem(KEY, JSON.stringify(pins));
    return true;
  } catch {
    return false;
  }
}

// Whether the browser stored it.
export function addPin(state, model) {
  const at = state.view === "sample" ? (state.at ?? model.digest) : null;
  const { name, digest, parameters, card } = model;
  const hash = writeState({ ...state, at, wall: 0 });
  const kept = { name, digest, parameters, card: { output: card.output, data: card.data } };
  return keep([{ hash, model: kept }, ...loadPins().filter((pin) => pin.hash !== hash)].slice(0, MOST));
}

export function pinTitle(state) {
  const { view, seed, a, b, c, t } = state;
  return { sample: `seed ${seed}`, between: `${t} between ${a} and ${b}`, arithmetic: `${a} − ${b} + ${c}` }[view];
}

export async function showPins(container, open, signal) {
  const pins = loadPins();
  if (!pins.length) return showNone(container);
  const entries = pins.map((pin) => entry(pin, container, open, signal));
  put(container, [element("ul", { class: "pins" }, ...entries.map(({ node }) => node))]);
  for (const { fill } of entries) await fill(); // one after the other, the first one first
}

function showNone(container) {
  put(container, [element("p", { class: "empty" }, NOTHING)]);
}

function entry({ hash, model }, container, open, signal) {
  const state = readState(hash);
  const title = `${pinTitle(state)} of ${model.name}`;
  const place = element("div", { class: "picture" });
  const remove = () => {
    keep(loadPins().filter((pin) => pin.hash !== hash));
    put(place, []);
    node.remove();
    if (!container.querySelector(".pins li")) showNone(container);
    (container.querySelector("button") ?? document.querySelector("#views [aria-current]")).focus();
  };
  const node = element("li", {},
    place,
    element("a", { href: hash, onclick: (event) => { event.preventDefault(); open(hash); } }, title),
    element("button", { type: "button", class: "quiet", "aria-label": `Unpin ${title}`, onclick: remove }, "Unpin"));
  const fill = async () => {
    if (!node.isConnected) return;
    try {
      const format = shownFormat(model);
      const url = state.view === "sample" ? immutableUrl(state, model, { format }) : shownUrl(state, model, { format });
      await show(place, model, await ask(url, { signal }), title, signal);
      if (!node.isConnected) put(place, []); // unpinned meanwhile
    } catch (error) {
      if (error.name !== "AbortError") put(place, [element("p", { class: "problem" }, error.message)]);
    }
  };
  return { node, fill };
}
