// A seed's field with a button for a random one. An invalid seed is reported, not sent.

import { element } from "./dom.js";
import { MAX_SEED, readSeed } from "./state.js";

export const roll = () => crypto.getRandomValues(new Uint32Array(1))[0];

export function seedField(name, label, { change, focus = () => {}, problem }) {
  const input = element("input", {
    id: `seed-${name}`, inputmode: "numeric", autocomplete: "off", spellcheck: "false", size: 10, onfocus: focus,
  });
  const take = () => {
    const seed = readSeed(input.value.trim());
    input.setAttribute("aria-invalid", seed === null);
    if (seed === null) problem(`A seed is a whole number from 0 to ${MAX_SEED}, and '${input.value}' is none.`);
    else change({ [name]: seed });
  };
  input.addEventListener("change", take);
  input.addEventListener("keydown", (event) => {
    const step = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    const seed = readSeed(input.value.trim());
    if (!step || seed === null || seed + step < 0 || seed + step > MAX_SEED) return;
    event.preventDefault();
    input.value = seed + step;
    take();
  });
  const button = element("button", {
    type: "button", class: "quiet", "aria-label": `Roll ${label}`, title: "Roll", onclick: () => change({ [name]: roll() }),
  }, "⚂");
  const thumb = element("div", { class: "thumb", "data-seed": name });
  const joined = element("span", { class: "joined" }, input, button);
  const node = element("div", { class: "field" }, thumb, element("label", { for: input.id }, label), joined);
  const update = (state) => {
    input.value = state[name];
    input.removeAttribute("aria-invalid");
  };
  return { node, update };
}
