// The ways to share a sample: curl command, permanent address, files.

import { byId, element } from "./dom.js";
import { fewer, scaled, thereAndBack } from "./limits.js";
import { kindOf } from "./models.js";
import { MAX_SEED } from "./state.js";
import { immutableUrl, sampleUrl, shownUrl, walkUrl } from "./urls.js";

const LARGE = 512; // side in pixels of a file for viewing

export function showShare(state, model, pin, told) {
  const url = shownUrl(state, model);
  const quoted = `'${location.origin}${url.replaceAll("'", "%27")}'`;
  const lines = [["curl line", `curl -o ${fileName(state, model)} ${quoted}`]];
  if (state.view === "sample") lines.push(["Immutable address", location.origin + immutableUrl(state, model)]);
  byId("share").replaceChildren(
    element("div", { class: "buttons" },
      element("button", { type: "button", class: "main", onclick: pin }, "Pin"),
      ...files(state, model).map(([label, href, name]) => element("a", { class: "button", href, download: name }, label))),
    ...lines.map(([label, text], i) => line(label, text, `line-${i}`, told)));
}

function line(label, text, id, told) {
  const input = element("input", { id, readonly: true, value: text, onfocus: () => input.select() });
  const copy = async () => {
    input.select();
    try {
      await navigator.clipboard.writeText(text);
      told(`${label} copied.`);
    } catch {
      told("This browser lets no page copy here; the line is selected, so Ctrl+C does.");
    }
  };
  const button = element("button", {
    type: "button", class: "quiet", "aria-label": `Copy the ${label.toLowerCase()}`, onclick: copy,
  }, "Copy");
  const joined = element("span", { class: "joined" }, input, button);
  return element("div", { class: "line" }, element("label", { for: id }, label), joined);
}

function stem(state) {
  const { view, seed, a, b, c } = state;
  return { sample: `${seed}`, between: `${a}-${b}`, arithmetic: `${a}-${b}+${c}` }[view];
}

const fileName = (state, model) => `${stem(state)}.${kindOf(model) === "image" ? "png" : "json"}`;

function files(state, model) {
  const name = stem(state);
  if (kindOf(model) !== "image") {
    return model.formats.map((format) => [format.toUpperCase(), shownUrl(state, model, { format }), `${name}.${format}`]);
  }
  const { width, height } = model.card.output;
  const scale = scaled(model, 1, Math.floor(LARGE / Math.max(width, height)));
  const found = [["PNG", shownUrl(state, model, { format: "png", scale }), `${name}.png`]];
  if (state.view === "sample") {
    const n = Math.floor(Math.sqrt(fewer(model, 16))) ** 2; // a square has no empty tiles
    const small = scaled(model, n, Math.floor(scale / 4));
    const first = { ...state, seed: Math.min(state.seed, MAX_SEED - n + 1) };
    found.push(["Sheet", sampleUrl(first, model, { n, format: "png", scale: small }), `${first.seed}-sheet.png`]);
  }
  const ends = state.view === "sample" ? { ...state, a: state.seed, b: (state.seed + 1) % 2 ** 32 } : state;
  const walk = walkUrl(ends, model, thereAndBack(model, Math.floor(scale / 2)));
  found.push(["Animation", walk, `${ends.a}-${ends.b}.webp`]);
  return found;
}
