// The controls of each view: seeds, interpolation position, walk.

import { byId, element } from "./dom.js";
import { seedField } from "./seed.js";
import { put } from "./show.js";

const FIELDS = {
  sample: { seed: "Seed" },
  between: { a: "From seed", b: "To seed" },
  arithmetic: { a: "Seed a", b: "minus b", c: "plus c" },
  pins: {},
};

// The field that a tile of the wall fills: the one used last.
export function showControls(view, { change, play, problem }) {
  let target = Object.keys(FIELDS[view])[0];
  const fields = Object.entries(FIELDS[view]).map(([name, label]) => {
    return seedField(name, label, { change, problem, focus: () => (target = name) });
  });
  const extra = view === "between" ? between(change, play) : [];
  put(byId("controls"), [...fields, ...extra].map(({ node }) => node));
  const update = (state) => [...fields, ...extra].forEach((part) => part.update(state));
  return { update, target: () => target };
}

function between(change, play) {
  const range = element("input", { type: "range", id: "place", min: 0, max: 1, step: 0.01 });
  const output = element("output", { for: "place" });
  range.addEventListener("input", () => change({ t: String(range.valueAsNumber) }, { replace: true }));
  const slider = element("div", { class: "slider" }, element("label", { for: "place" }, "Place"), range, output);
  const button = element("button", { type: "button", id: "play", onclick: play }, "Play the walk");
  const update = (state) => {
    range.value = state.t;
    output.value = state.t;
  };
  return [{ node: slider, update }, { node: button, update: () => {} }];
}
