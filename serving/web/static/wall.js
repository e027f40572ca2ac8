// The wall: many seeds at once. A tile chooses a seed; points are one cloud over the real ones.
// Small pictures come in one request, large ones a few at a time, as their tiles come into view.

import { ask, askJson } from "./api.js";
import { byId, element } from "./dom.js";
import { fewer } from "./limits.js";
import { kindOf } from "./models.js";
import { plot } from "./scatter.js";
import { roll } from "./seed.js";
import { REAL, sequence, shownFormat } from "./show.js";
import { MAX_SEED } from "./state.js";
import { realPoints } from "./toys.js";
import { sampleUrl } from "./urls.js";

const COUNTS = { image: 48, points: 256, tokens: 12 };
const LARGE = 96; // side in pixels from which half as many suffice, and are requested when they come into view
const AT_ONCE = 4; // large pictures of one request
const MAX_IMAGES = Number(document.documentElement.dataset.maxImages);

let inView = null; // the observer of the tiles that are still empty

const isLarge = ({ card }) => (card.output.width ?? 0) > LARGE;

function count(model) {
  const { kind } = model.card.output;
  return Math.min(MAX_IMAGES, isLarge(model) ? COUNTS[kind] / 2 : COUNTS[kind]);
}

// Empty tiles of an earlier wall request nothing any more.
export function leaveWall() {
  inView?.disconnect();
  inView = null;
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

// more: a function that runs another piece of work, a function of an AbortSignal, after this one.
export async function fillWall(model, state, choose, signal, more) {
  const url = wallUrl(state, model);
  const first = Math.min(state.wall, MAX_SEED - count(model) + 1);
  const kind = kindOf(model);
  if (kind === "image" && isLarge(model)) return fillInView(model, state, first, choose, more);
  if (kind === "image") return tiles(await images(model, url, signal), first, choose);
  const { data } = await askJson(url, { signal });
  if (kind === "points") cloud(model, data);
  else tiles(data.map((tokens) => element("code", {}, sequence(tokens))), first, choose);
}

function fillInView(model, state, first, choose, more) {
  const n = count(model);
  tiles(canvases(model, n), first, choose);
  const groups = new Map(); // the first tile of each group and the group's first seed
  const atOnce = fewer(model, AT_ONCE);
  for (let i = 0; i < n; i += atOnce) groups.set(byId("tiles").children[i], first + i);
  const wanted = new Set();
  const observer = (inView = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      observer.unobserve(target);
      wanted.add(target);
    }
    if (wanted.size) more(draw);
  }, { rootMargin: "50%" }));
  const draw = async (signal) => {
    for (const tile of wanted) {
      if (inView !== observer) return;
      const seed = groups.get(tile);
      const rows = Math.min(atOnce, first + n - seed);
      const url = sampleUrl({ ...state, at: null, seed }, model, { n: rows, cols: rows, format: shownFormat(model) });
      const sheet = await createImageBitmap((await ask(url, { signal })).body);
      signal.throwIfAborted();
      wanted.delete(tile);
      for (let i = 0; i < rows; i += 1) cut(sheet, byId("tiles").children[seed - first + i].firstChild, i, 0);
    }
  };
  for (const tile of groups.keys()) observer.observe(tile);
}

function canvases({ card: { output: { width, height } } }, n) {
  return Array.from({ length: n }, () => element("canvas", { width, height, class: "pixels" }));
}

// One picture of a contact sheet.
function cut(sheet, canvas, column, row) {
  canvas.getContext("2d").drawImage(sheet, -column * canvas.width, -row * canvas.height);
  canvas.dataset.drawn = "";
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
  const columns = sheet.width / model.card.output.width;
  const made = canvases(model, count(model));
  made.forEach((canvas, i) => cut(sheet, canvas, i % columns, Math.floor(i / columns)));
  return made;
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
