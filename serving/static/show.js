// One sample on the stage, whatever its kind: an image, a point among the real ones, or a sequence.

import { element } from "./dom.js";
import { kindOf } from "./models.js";
import { plot } from "./scatter.js";
import { realPoints } from "./toys.js";

export const REAL = 600;
const urls = new WeakMap();

// The format in which a model's samples are shown.
export const shownFormat = (model) => (kindOf(model) === "image" ? "png" : "json");

export async function show(container, model, answer, words) {
  const isImage = kindOf(model) === "image";
  put(container, isImage ? [await picture(answer.body, words)] : rows(model, JSON.parse(await answer.body.text()).data, words));
}

export function put(container, nodes) {
  for (const old of container.querySelectorAll("img")) URL.revokeObjectURL(urls.get(old));
  container.replaceChildren(...nodes);
}

export async function picture(body, words) {
  const image = element("img", { alt: words, class: "pixels" });
  urls.set(image, URL.createObjectURL(body));
  image.src = urls.get(image);
  await image.decode();
  return image;
}

export function rows(model, data, words) {
  if (kindOf(model) === "tokens") return [sequences(data)];
  const { output, data: name } = model.card;
  const one = data.length === 1;
  const real = realPoints(name, REAL);
  const parts = one ? { real, marked: data[0] } : { real, path: data, marked: data.at(-1) };
  const numbers = data.at(-1).slice(0, 8).map((value) => Number(value.toPrecision(5))).join(", ");
  const told = `(${numbers}${output.size > 8 ? ", …" : ""})`;
  return [plot(output, parts, `${words}: ${told}`), element("p", { class: "numbers" }, told)];
}

// The card knows no alphabet, so a sequence is told by its tokens' numbers.
export const sequence = (tokens) => tokens.join(" ");

function sequences(data) {
  const items = data.map((tokens) => element("li", {}, element("code", {}, sequence(tokens))));
  return element("ol", { class: "sequences" }, ...items);
}
