// The header Server-Timing (W3C), and the table of requests that it fills.

import { byId, element } from "./dom.js";

const KEPT = 12;

// 'cache;desc=miss, batch;desc=8, queue;dur=0.31' to { cache: "miss", batch: "8", queue: 0.31 }.
export function readTiming(header) {
  const found = {};
  for (const entry of (header ?? "").split(",")) {
    const [name, ...parameters] = entry.split(";").map((part) => part.trim());
    for (const parameter of parameters) {
      const [key, value = ""] = parameter.split("=");
      if (key === "desc") found[name] = value.replace(/^"|"$/g, "");
      if (key === "dur") found[name] = Number(value);
    }
  }
  return found;
}

export const ms = (value) => (value === undefined ? "–" : `${value < 10 ? value.toFixed(2) : value.toFixed(0)} ms`);

export function inWords({ ms: took, timing }) {
  const words = [ms(took)];
  if (timing.cache) words.push(`cache ${timing.cache.replace("_", " ")}`);
  if (timing.batch) words.push(`batch of ${timing.batch}`);
  return words.join(" · ");
}

export function addRequest(answer) {
  const { timing } = answer;
  const parts = ["queue", "inference", "encode"].map((name) => ms(timing[name]));
  const cells = [ms(answer.ms), timing.cache?.replace("_", " ") ?? "–", timing.batch ?? "–", ...parts];
  const row = element("tr", { class: answer.status < 400 ? "" : "failed" },
    element("th", { scope: "row" }, element("code", {}, answer.path), answer.status < 400 ? "" : ` ${answer.status}`),
    ...cells.map((cell) => element("td", {}, cell)));
  const table = byId("requests");
  table.prepend(row);
  while (table.children.length > KEPT) table.lastChild.remove();
}
