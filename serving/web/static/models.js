// The served models to choose from, and the chosen one's card.

import { byId, element } from "./dom.js";

const KINDS = {
  image: ({ width, height, channels }) => `${width}×${height} ${channels === 1 ? "grey" : "colour"}`,
  points: ({ size }) => `points in ${size}D`,
  tokens: ({ length }) => `${length} tokens`,
};

export const kindOf = (model) => model.card.output.kind;
export const inWords = (model) => KINDS[kindOf(model)](model.card.output);

export function showModels(models, chosen, choose) {
  const entries = models.map((model) => element("label", { class: "model" },
    element("input", { type: "radio", name: "model", value: model.name, onchange: () => choose(model.name) }),
    element("span", { class: "name" }, model.name),
    element("span", { class: "about" }, `${inWords(model)} · ${model.card.data}`)));
  byId("models").replaceChildren(element("legend", {}, "Model"), ...entries);
  markModel(chosen);
}

export function markModel(chosen) {
  for (const input of byId("models").querySelectorAll("input")) input.checked = input.value === chosen.name;
}

export function showCard(model) {
  const { card } = model;
  const latents = Object.entries(card.latents).map(([name, { kind, classes, size }]) => `${name}: ${kind} ${classes ?? size}`);
  const batches = model.batching === "any" ? "any size" : model.batching;
  const rows = {
    Recipe: card.recipe, Paper: card.paper, Data: `${card.data}, ${card.data_licence}`, Gives: inWords(model),
    Latents: latents.join(", "), Classes: card.classes.join(", "),
    Trained: `${card.steps.toLocaleString("en")} steps, ${card.images.toLocaleString("en")} real samples seen`,
    Chosen: card.chosen ?? "",
    Scores: Object.entries(card.scores).map(([name, value]) => `${name} ${Number(value.toPrecision(4))}`).join(", "),
    Digest: model.digest, Runtime: `${model.serving_runtime}, batches of ${batches}`,
  };
  const shown = Object.entries(rows).filter(([, text]) => text);
  byId("card").replaceChildren(...shown.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]));
}
