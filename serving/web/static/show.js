// One sample on the stage, of any kind: an image, a point among the real ones, or a sequence.

import { readJson } from "./api.js";
import { element } from "./dom.js";
import { kindOf } from "./models.js";
import { plot } from "./scatter.js";
import { realPoints } from "./toys.js";

export const REAL = 600;
const urls = new WeakMap();

// The format in which a model's samples are shown.
export const shownFormat = (model) => (kindOf(model) === "image" ? "png" : "json");

// After the signal, the container stays as it is.
export async function show(container, model, answer, words, signal) {
  if (kindOf(model) === "image") return put(container, [await picture(answer.body, words, signal)]);
  const { data } = await readJson(answer);
  signal.throwIfAborted();
  put(container, rows(model, data, words));
}

// Fill an element that may hold pictures: a picture's bytes stay in memory until its address is revoked.
export function put(container, nodes) {
  for (const old of container.querySelectorAll("img")) URL.revokeObjectURL(urls.get(old));
  container.replaceChildren(...nodes);
}

async function picture(body, words, signal) {
  const image = element("img", { alt: words, class: "pixels" });
  urls.set(image, URL.createObjectURL(body));
  image.src = urls.get(image);
  try {
    await image.decode();
    signal.throwIfAborted();
  } catch (error) {
    URL.revokeObjectURL(image.src);
    throw error;
  }
  return image;
}

function rows(model, data, words) {
  if (kindOf(model) === "tokens") return [sequences(data)];
  const { output, data: name } = model.card;
  const one = data.length === 1;
  const real = realPoints(name, REAL);
  const parts = one ? { real, marked: data[0] } : { real, path: data, marked: data.at(-1) };
  const numbers = data.at(-1).slice(0, 8).map((value) => Number(value.toPrecision(5))).join(", ");
  const told = `(${numbers}${output.size > 8 ? ", …" : ""})`;
  return [plot(output, parts, `${words}: ${told}`), element("p", { class: "numbers" }, told)];
}

// The card has no alphabet, so a sequence is shown as the numbers of its tokens.
export const sequence = (tokens) => tokens.join(" ");

function sequences(data) {
  const items = data.map((tokens) => element("li", {}, element("code", {}, sequence(tokens))));
  return element("ol", { class: "sequences" }, ...items);
}
