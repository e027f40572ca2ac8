// The wall: many seeds at once from one request. A tile chooses a seed; points are one cloud over the real ones.

import { ask, askJson } from "./api.js";
import { byId, element } from "./dom.js";
import { kindOf } from "./models.js";
import { plot } from "./scatter.js";
import { roll } from "./seed.js";
import { REAL, sequence, shownFormat } from "./show.js";
import { MAX_SEED } from "./state.js";
import { realPoints } from "./toys.js";
import { sampleUrl } from "./urls.js";

const COUNTS = { image: 48, points: 256, tokens: 12 };
const LARGE = 96; // side in pixels from which half as many suffice
const MAX_IMAGES = Number(document.documentElement.dataset.maxImages);

function count(model) {
  const { kind, width = 0 } = model.card.output;
  return Math.min(MAX_IMAGES, width > LARGE ? COUNTS[kind] / 2 : COUNTS[kind]);
}

export function wallUrl(state, model) {
  const n = count(model);
  const first = { ...state, at: null, seed: Math.min(state.wall, MAX_SEED - n + 1) };
  return sampleUrl(first, model, { n, format: shownFormat(model) });
}

function titleOf(model) {
  if (kindOf(model) !== "points") return "Wall";
  return realPoints(model.card.data, 1) ? "Made against real" : "Made";
}

// Title and buttons; the tiles come with the response.
export function frameWall(model, state, change) {
  const n = count(model);
  const first = Math.min(state.wall, MAX_SEED - n + 1);
  const button = (label, wall, isLast = false) => {
    const id = `turn-${label.toLowerCase()}`; // keeps the focus, also at an end, where a button is disabled
    const onclick = () => isLast || change({ wall });
    return element("button", { type: "button", class: "quiet", "aria-disabled": isLast ? "true" : null, id, onclick }, label);
  };
  const focused = document.activeElement?.id;
  byId("wall").replaceChildren(
    element("div", { class: "heading" },
      element("h2", { id: "wall-title" }, titleOf(model)),
      element("p", {}, `Seeds ${first} to ${first + n - 1}`)),
    element("div", { class: "tiles", id: "tiles", "data-kind": kindOf(model) }),
    element("div", { class: "turn" },
      button("Earlier", Math.max(0, first - n), first === 0),
      button("Later", Math.min(first + n, MAX_SEED - n + 1), first + n > MAX_SEED),
      button("Anywhere", roll() % (MAX_SEED - n + 2))));
  if (focused?.startsWith("turn-")) byId(focused).focus();
}

export async function fillWall(model, state, choose, signal) {
  const url = wallUrl(state, model);
  const first = Math.min(state.wall, MAX_SEED - count(model) + 1);
  const kind = kindOf(model);
  if (kind === "image") return tiles(await images(model, url, signal), first, choose);
  const { data } = await askJson(url, { signal });
  if (kind === "points") cloud(model, data);
  else tiles(data.map((tokens) => element("code", {}, sequence(tokens))), first, choose);
}

function tiles(contents, first, choose) {
  byId("tiles").replaceChildren(...contents.map((content, i) => {
    const [seed, label] = [first + i, `Seed ${first + i}`];
    const attributes = { type: "button", class: "tile", "aria-label": label, title: label, "data-seed": seed };
    return element("button", { ...attributes, onclick: () => choose(seed) }, content);
  }));
}

export function markTile(seed) {
  for (const tile of document.querySelectorAll(".tile")) tile.setAttribute("aria-pressed", tile.dataset.seed === String(seed));
}

async function images(model, url, signal) {
  const { body } = await ask(url, { signal });
  const sheet = await createImageBitmap(body);
  signal.throwIfAborted();
  const { width, height } = model.card.output;
  const columns = sheet.width / width;
  return Array.from({ length: count(model) }, (_, i) => {
    const canvas = element("canvas", { width, height, class: "pixels" });
    canvas.getContext("2d").drawImage(sheet, -(i % columns) * width, -Math.floor(i / columns) * height);
    return canvas;
  });
}

function cloud(model, made) {
  const { output, data } = model.card;
  const real = realPoints(data, REAL);
  const key = (kind, text) => element("span", { class: `key ${kind}` }, text);
  const label = `${made.length} points of ${model.name}${real ? ` over ${real.length} real ones of ${data}` : ""}`;
  const unknown = `Of the data set ${data} the page knows no real points.`;
  const other = real ? key("real", `real, ${real.length} of ${data}`) : key("none", unknown);
  byId("tiles").replaceChildren(
    plot(output, { real, made }, label),
    element("p", { class: "legend" }, key("made", `made, ${made.length}`), other));
}
