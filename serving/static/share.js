// What can be taken along: the curl line, the address that never changes, the files.

import { byId, element } from "./dom.js";
import { kindOf } from "./models.js";
import { immutableUrl, sampleUrl, shownUrl, walkUrl } from "./urls.js";

const { maxScale, maxImages } = document.documentElement.dataset;
const LARGE = 512; // pixels of a side that a file to look at should have

export function showShare(state, model, pin, told) {
  const url = shownUrl(state, model);
  const lines = [["curl line", `curl -o ${fileName(state, model)} '${location.origin}${url}'`]];
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
  return element("div", { class: "line" }, element("label", { for: id }, label),
    element("span", { class: "joined" }, input, element("button", { type: "button", class: "quiet", "aria-label": `Copy the ${label.toLowerCase()}`, onclick: copy }, "Copy")));
}

function stem(state) {
  return { sample: `${state.seed}`, between: `${state.a}-${state.b}`, arithmetic: `${state.a}-${state.b}+${state.c}` }[state.view];
}

const fileName = (state, model) => `${stem(state)}.${kindOf(model) === "image" ? "png" : "json"}`;

function files(state, model) {
  const name = stem(state);
  if (kindOf(model) !== "image") {
    return model.formats.map((format) => [format.toUpperCase(), shownUrl(state, model, { format }), `${name}.${format}`]);
  }
  const { width, height } = model.card.output;
  const scale = Math.max(1, Math.min(Number(maxScale), Math.floor(LARGE / Math.max(width, height))));
  const found = [["PNG", shownUrl(state, model, { format: "png", scale }), `${name}.png`]];
  if (state.view === "sample") {
    const n = Math.min(Number(maxImages), 16);
    found.push(["Sheet", sampleUrl(state, model, { n, format: "png", scale: Math.max(1, Math.floor(scale / 4)) }), `${name}-sheet.png`]);
  }
  const ends = state.view === "sample" ? { ...state, a: state.seed, b: (state.seed + 1) % 2 ** 32 } : state;
  found.push(["Animation", walkUrl(ends, model, { back: "on", scale: Math.max(1, Math.floor(scale / 2)), format: "webp" }), `${ends.a}-${ends.b}.webp`]);
  return found;
}
