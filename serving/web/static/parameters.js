// Parameters of a request, from the model's declaration: classes to pick, a slider for each small latent.

import { byId, element } from "./dom.js";

const CHIPS = 30; // with more classes, a field is easier

export function showParameters(model, change) {
  const controls = Object.entries(model.parameters).map(([name, declared]) => control(model, name, declared, change));
  byId("parameters").replaceChildren(...controls.map(({ node }) => node));
  return (state) => controls.forEach(({ update }) => update(state));
}

function control(model, name, declared, change) {
  if (!declared.is_integer) return slider(name, declared, change);
  const classes = name === "y" ? model.card.classes : [];
  return declared.high - declared.low < CHIPS ? chips(name, declared, classes, change) : field(name, declared, change);
}

function chips(name, { low, high }, classes, change) {
  const values = Array.from({ length: high - low + 1 }, (_, i) => String(low + i));
  const choices = [["", "any"], ...values.map((value, i) => [value, classes[i] ?? value])];
  const inputs = choices.map(([value]) => element("input", {
    type: "radio", name: `p-${name}`, value, onchange: () => change(name, value || null),
  }));
  const labels = choices.map(([, text], i) => element("label", { class: "chip" }, inputs[i], element("span", {}, text)));
  const node = element("fieldset", { class: "chips" }, element("legend", {}, classes.length ? "Class" : name), ...labels);
  const update = (state) => inputs.forEach((input) => (input.checked = input.value === (state.values[name] ?? "")));
  return { node, update };
}

function slider(name, { low, high }, change) {
  const decimals = Math.max(0, 2 - Math.floor(Math.log10(high - low)));
  const range = element("input", { type: "range", id: `p-${name}`, min: low, max: high, step: 10 ** -decimals });
  const output = element("output", { for: range.id });
  const reset = element("button", {
    type: "button", class: "quiet", "aria-label": `Let ${name} follow the seed`, onclick: () => {
      change(name, null);
      range.focus(); // a disabled button loses the focus
    },
  }, "reset");
  const read = () => Math.min(high, Math.max(low, range.valueAsNumber)).toFixed(decimals);
  range.addEventListener("input", () => change(name, read(), { replace: true }));
  const node = element("div", { class: "slider" }, element("label", { for: range.id }, name), range, output, reset);
  const update = (state) => {
    const value = state.values[name];
    if (document.activeElement !== range || value === undefined || read() !== value) range.value = value ?? (low + high) / 2;
    output.value = value ?? "by seed";
    reset.disabled = value === undefined;
  };
  return { node, update };
}

function field(name, { low, high }, change) {
  const input = element("input", {
    id: `p-${name}`, type: "number", min: low, max: high, step: 1, placeholder: "any",
    onchange: () => change(name, input.value || null),
  });
  const node = element("div", { class: "field" }, element("label", { for: input.id }, `${name}, ${low} to ${high}`), input);
  return { node, update: (state) => (input.value = state.values[name] ?? "") };
}
