// The samples that are mixed or added, small above the fields of their seeds.

import { ask } from "./api.js";
import { show, shownFormat } from "./show.js";
import { sampleUrl } from "./urls.js";

const shown = new WeakMap();

// One after the other; those already loaded are not requested again.
export async function showOperands(state, model, signal) {
  if (state.view === "sample" || shownFormat(model) !== "png") return;
  for (const place of document.querySelectorAll(".thumb")) {
    const url = sampleUrl({ ...state, at: null, seed: state[place.dataset.seed] }, model, { format: "png" });
    const key = `${model.digest} ${url}`; // a replacing model has the same address
    if (shown.get(place) === key) continue;
    await show(place, model, await ask(url, { signal }), `Seed ${state[place.dataset.seed]}`, signal);
    shown.set(place, key);
  }
}
