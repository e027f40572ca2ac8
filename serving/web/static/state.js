// The view, kept in the address after '#', so that links, back and forward work.

export const MAX_SEED = 4294967295;
export const VIEWS = { sample: "Sample", between: "Between two", arithmetic: "Arithmetic", pins: "Pinned" };
const SEEDS = { seed: 42, a: 1, b: 2, c: 3, wall: 0 };
const VALUE = "p."; // a model's parameter may have the name of a field of the page

export function readState(hash) {
  const found = new URLSearchParams(hash.replace(/^#/, ""));
  const state = { model: found.get("model"), at: null, view: "sample", t: "0.5", values: {} };
  for (const [name, fallback] of Object.entries(SEEDS)) state[name] = readSeed(found.get(name)) ?? fallback;
  if (Object.hasOwn(VIEWS, found.get("view") ?? "")) state.view = found.get("view");
  if (/^[0-9a-f]{12,64}$/.test(found.get("at") ?? "")) state.at = found.get("at");
  if (/^(0(\.\d{1,4})?|1)$/.test(found.get("t") ?? "")) state.t = found.get("t");
  for (const [name, value] of found) if (name.startsWith(VALUE)) state.values[name.slice(VALUE.length)] = value;
  return state;
}

export function readSeed(text) {
  return /^(0|[1-9]\d{0,9})$/.test(text ?? "") && Number(text) <= MAX_SEED ? Number(text) : null;
}

const SHOWN = { sample: ["seed"], between: ["a", "b", "t"], arithmetic: ["a", "b", "c"], pins: [] };

export function writeState(state) {
  const said = new URLSearchParams();
  if (state.model) said.set("model", state.model);
  if (state.view !== "sample") said.set("view", state.view);
  for (const name of SHOWN[state.view]) said.set(name, state[name]);
  if (state.wall !== SEEDS.wall) said.set("wall", state.wall);
  if (state.at) said.set("at", state.at);
  for (const [name, value] of Object.entries(state.values)) said.set(VALUE + name, value);
  return `#${said}`;
}

export class Store {
  #listeners = [];

  constructor() {
    this.state = readState(location.hash);
    const follow = () => {
      const { hash } = location;
      const isPlace = hash !== "" && !hash.includes("="); // '#stage', for example: an anchor, not a view
      if (isPlace || writeState(this.state) === hash) return;
      this.state = readState(hash);
      this.#tell();
    };
    window.addEventListener("popstate", follow);
  }

  listen(listener) {
    this.#listeners.push(listener);
  }

  // While a value is dragged the history entry is replaced, so that back leads to the view before.
  change(patch, { replace = false } = {}) {
    this.state = { ...this.state, ...patch };
    this.#remember(replace);
    this.#tell();
  }

  start() {
    this.#remember(true);
    this.#tell();
  }

  #remember(replace) {
    const hash = writeState(this.state);
    if (hash === location.hash) return;
    if (replace) history.replaceState(null, "", hash);
    else history.pushState(null, "", hash);
  }

  #tell() {
    for (const listener of this.#listeners) listener(this.state);
  }
}
